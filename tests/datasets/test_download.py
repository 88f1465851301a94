"""Downloads from a loopback server that also stalls, cuts off, lies and ignores Range.

No test contacts any other address.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import socket
import ssl
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets import download
from pipeline.datasets.braille import Braille
from spyx_nir.errors import Unavailable, UserError

ROWS = [{"letter": "A", "events": [[[0.5], [0.25]]] + [[[], []]] * 11}]


def make_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


BRAILLE_ZIP = make_zip(
    {
        "data_braille_letters_th_1.pkl": pickle.dumps(ROWS),
        "readme.txt": b"not taken",
        "padding.bin": bytes(50_000),
    }
)


class Server:
    """What is served, and how badly."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.cut: list[int] = []  # for each transfer to come: stop after so many bytes
        self.stall = False
        self.drip = False
        self.ranges = True
        self.status: int | None = None
        self.declare: int | None = None  # a Content-Length other than the true one
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        content = self.files.get(handler.path)
        status = self.status if self.status and handler.path.endswith(".zip") else None
        if content is None or status:
            handler.send_error(status or 404)
            return
        start = 0
        if asked and self.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        body = content[start:]
        handler.send_header("Content-Length", str(self.declare or len(body)))
        handler.end_headers()
        if handler.path.endswith(".zip"):
            if self.cut:
                handler.wfile.write(body[: self.cut.pop(0)])
                return
            if self.stall:
                handler.wfile.write(body[:1000])
                handler.wfile.flush()
                self.released.wait(20)
                return
            if self.drip:
                for byte in body:
                    if self.released.wait(0.02):
                        return
                    try:
                        handler.wfile.write(bytes([byte]))
                    except OSError:
                        return
        handler.wfile.write(body)

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    server.files["/archive.zip"] = BRAILLE_ZIP
    server.files["/record"] = record(server.url)
    monkeypatch.setattr(download, "ZENODO_RECORD", f"{server.url}/record")
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    yield server
    server.close()


def record(url: str, content: bytes = BRAILLE_ZIP, **changes: Any) -> bytes:
    """What Zenodo's record API says about a file."""
    entry = {
        "key": "reading_braille_data.zip",
        "size": len(content),
        "checksum": f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}",
        "links": {"self": f"{url}/archive.zip"},
        **changes,
    }
    return json.dumps({"files": [entry]}).encode()


def fetch(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir(exist_ok=True)
    download.fetch("braille", folder, keep=tmp_path / "keep")
    return folder


def kept(tmp_path: Path) -> int:
    """Bytes that wait for the next attempt."""
    return sum(path.stat().st_size for path in (tmp_path / "keep").glob("*"))


def test_fetched_checked_unpacked_and_read(server: Server, tmp_path: Path) -> None:
    folder = fetch(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["data_braille_letters_th_1.pkl"]
    assert Braille(folder)[0][0]["t"].tolist() == [250_000, 500_000]
    assert not (tmp_path / "keep").exists()


def test_nmnist_takes_both_archives_by_tonics_digests(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("Train", "Test"):
        content = make_zip({f"{split}/3/00001.bin": bytes(5), f"{split}/readme.txt": b""})
        server.files[f"/{split}.zip"] = content
        for name, value in (
            ("url", f"{server.url}/{split}.zip"),
            ("md5", hashlib.md5(content, usedforsecurity=False).hexdigest()),
        ):
            monkeypatch.setattr(f"tonic.datasets.NMNIST.{split.lower()}_{name}", value)
    download.fetch("nmnist", tmp_path / "raw", keep=tmp_path / "keep")
    files = sorted(path.as_posix() for path in (tmp_path / "raw").rglob("*") if path.is_file())
    assert [file.removeprefix(f"{tmp_path}/raw/") for file in files] == [
        "Test/3/00001.bin",
        "Train/3/00001.bin",
    ]


def test_a_cut_off_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut = [20_000]
    fetch(tmp_path)
    assert [asked for path, asked in server.requests if path == "/archive.zip"] == [
        None,
        "bytes=20000-",
    ]


def test_a_server_that_ignores_range_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.cut, server.ranges = [20_000], False
    assert len(list(fetch(tmp_path).iterdir())) == 1


def test_a_server_that_always_cuts_off_is_given_up_and_resumed_later(
    server: Server, tmp_path: Path
) -> None:
    server.cut = [1000] * download.ATTEMPTS
    message = rf"cannot be downloaded: the connection ended .*\({1000 * download.ATTEMPTS} bytes"
    with pytest.raises(Unavailable, match=message) as caught:
        fetch(tmp_path)
    assert caught.value.exit_code == 2
    assert kept(tmp_path) == 1000 * download.ATTEMPTS
    fetch(tmp_path)
    assert server.requests[-1] == ("/archive.zip", f"bytes={1000 * download.ATTEMPTS}-")
    assert not (tmp_path / "keep").exists()


@pytest.mark.parametrize("how", ["stall", "drip"])
def test_a_stalled_transfer_times_out(
    server: Server, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(server, how, True)
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(Unavailable, match=r"cannot be downloaded: (timed out|only .* bytes in)"):
        fetch(tmp_path)


def test_a_silent_server_times_out(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/record"
        monkeypatch.setattr(download, "ZENODO_RECORD", url)
        with pytest.raises(Unavailable, match="cannot be downloaded: timed out"):
            fetch(tmp_path)


def test_a_wrong_digest_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.files["/archive.zip"] = BRAILLE_ZIP[:-1] + b"x"
    with pytest.raises(UserError, match=r"MD5 [0-9a-f]{32}, expected [0-9a-f]{32}") as caught:
        fetch(tmp_path)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "keep").exists()


def test_a_wrong_first_part_is_fetched_again(server: Server, tmp_path: Path) -> None:
    digest = hashlib.md5(BRAILLE_ZIP, usedforsecurity=False).hexdigest()
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / f"{digest}.zip").write_bytes(b"something else" * 50)
    assert len(list(fetch(tmp_path).iterdir())) == 1


def test_a_first_part_that_is_too_long_is_fetched_again(server: Server, tmp_path: Path) -> None:
    digest = hashlib.md5(BRAILLE_ZIP, usedforsecurity=False).hexdigest()
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / f"{digest}.zip").write_bytes(bytes(len(BRAILLE_ZIP) + 1))
    assert len(list(fetch(tmp_path).iterdir())) == 1


def test_a_wrong_size_is_refused(server: Server, tmp_path: Path) -> None:
    server.declare = len(BRAILLE_ZIP) + 7
    size = len(BRAILLE_ZIP)
    with pytest.raises(UserError, match=rf"{size + 7} bytes, expected {size}"):
        fetch(tmp_path)
    assert not (tmp_path / "keep").exists()


def test_no_network_names_the_other_sources_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/record", "http://name.invalid/record"):
        if "invalid" in url:  # a name that cannot be resolved, without asking anybody

            def unknown(*args: Any, **kwargs: Any) -> Any:
                raise socket.gaierror(-2, "Name or service not known")

            monkeypatch.setattr(socket, "getaddrinfo", unknown)
        monkeypatch.setattr(download, "ZENODO_RECORD", url)
        with pytest.raises(Unavailable, match=r"`simulated` .* or `folder`") as caught:
            fetch(tmp_path)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
        assert not (tmp_path / "keep").exists()
        assert not any((tmp_path / "raw").iterdir())


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_errors(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(Unavailable, match=r"cannot be downloaded: .*; set data\.source"):
        fetch(tmp_path)
    asked = [path for path, _ in server.requests if path == "/archive.zip"]
    assert len(asked) == (download.ATTEMPTS if status >= 500 else 1)
    assert not (tmp_path / "keep").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "no usable record of reading_braille_data.zip"),
        (b'{"files": []}', "no usable record"),
        (b"[]", "no usable record"),
        (record("http://127.0.0.1:1"), "names a file on another server"),
        (record("", checksum="sha1:0"), "has no MD5 checksum but 'sha1:0'"),
    ],
)
def test_unusable_records(server: Server, tmp_path: Path, content: bytes, message: str) -> None:
    server.files["/record"] = content
    with pytest.raises(UserError, match=message):
        fetch(tmp_path)


def test_other_protocols_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ZENODO_RECORD", "file:///etc/passwd")
    with pytest.raises(UserError, match="only http and https are fetched"):
        fetch(tmp_path)


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../data_braille_letters_th_1.pkl", "leaves the folder"),
        ("/data_braille_letters_th_1.pkl", "leaves the folder"),
        ("a/../../data_braille_letters_th_1.pkl", "leaves the folder"),
        ("..\\data_braille_letters_th_1.pkl", "leaves the folder"),
        ("C:/data_braille_letters_th_1.pkl", "leaves the folder"),
        (link("data_braille_letters_th_1.pkl"), "is a link"),
    ],
)
def test_unsafe_archives_are_refused(tmp_path: Path, name: Any, message: str) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data_braille_letters_th_2.pkl", b"")
        archive.writestr(name, b"/etc/passwd")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=rf"bad\.zip: refused, the member .* {message}"):
        download.unpack(path, tmp_path / "out", download.WANTED["braille"])
    assert not any((tmp_path / "out").iterdir())


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data_braille_letters_th_1.pkl", bytes(1_000_000))
    monkeypatch.setattr(download, "MAX_UNPACKED", 999_999)
    with pytest.raises(UserError, match="unpacks to 1000000 bytes in 1 files; at most 999999"):
        download.unpack(path, tmp_path / "out", download.WANTED["braille"])
    assert not (tmp_path / "out").exists()


def test_a_size_that_lies_stops_the_unpacking(tmp_path: Path) -> None:
    content = make_zip({"data_braille_letters_th_1.pkl": bytes(5000)})
    lying = content.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(lying)
    with pytest.raises(UserError, match=r"a\.zip: not a readable zip archive"):
        download.unpack(tmp_path / "a.zip", tmp_path / "out", download.WANTED["braille"])


def test_an_archive_without_recordings(server: Server, tmp_path: Path) -> None:
    content = make_zip({"readme.txt": b"nothing here"})
    server.files["/archive.zip"] = content
    server.files["/record"] = record(server.url, content)
    with pytest.raises(UserError, match="the archive holds no recordings"):
        fetch(tmp_path)
    assert not (tmp_path / "keep").exists()


def test_ctrl_c_keeps_what_was_received(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CHUNK", 10_000)
    blocks = download._blocks

    def interrupted(response: Any) -> Iterator[bytes]:
        yield next(blocks(response))
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path)
    assert kept(tmp_path) == 10_000
    monkeypatch.setattr(download, "_blocks", blocks)
    fetch(tmp_path)
    assert server.requests[-1] == ("/archive.zip", "bytes=10000-")


@pytest.mark.parametrize("method", ["STORED", "DEFLATED", "BZIP2", "LZMA"])
def test_an_archive_that_is_damaged_anywhere_is_one_line(tmp_path: Path, method: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", getattr(zipfile, f"ZIP_{method}")) as archive:
        archive.writestr("Train/1/00001.bin", bytes(range(200)) * 5)
    whole = buffer.getvalue()
    refused = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path = tmp_path / f"{place}.zip"
        path.write_bytes(damaged)
        try:
            download.unpack(path, tmp_path / str(place), download.WANTED["nmnist"])
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
    assert refused > len(whole) / 2


@pytest.mark.parametrize(
    "error", [OSError(101, "Network is unreachable"), ssl.SSLError(1, "record layer failure")]
)
def test_a_network_that_goes_away_while_it_sends(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    class Gone:
        status, headers = 200, {}

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read1(self, size: int) -> bytes:
            raise error

    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: Gone())
    url = "http://127.0.0.1:9/a.zip"
    with pytest.raises(Unavailable, match=rf"{url}: cannot be downloaded: {error.strerror}"):
        download.receive(download.Archive(url, "0" * 32), tmp_path)
