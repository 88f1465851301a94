"""HDF5 files from anybody, as plain dictionaries: refused before they cost time or memory.

HDF5 can point into other files, at itself, and at more data than any memory holds. A NIR graph
needs none of that, so everything is refused here except groups, and arrays of numbers and texts
that are in the file itself, each under exactly one name.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import h5py
import numpy as np

from spyx_nir.errors import GraphError, one_line
from spyx_nir.limits import check_limit
from spyx_nir.meaning.equations import Shape

T = TypeVar("T")

OBJECTS = 16  # groups and arrays of a node: its own, its metadata's, ten fields
MAX_NAME = 256  # characters of a name

# What deflate can do at best (1032 to 1) and a bit: an array that claims to unpack to more than its
# file could hold is not worth allocating.
UNPACKS = 1100
KEPT_OPEN = 2**13  # bytes that an open array takes HDF5: smaller ones are read at once
SMALL = 2**24  # bytes that are cheap enough not to ask
MEDIUM = 2**28  # bytes that unpack in a second, however well they are packed
SKETCHED = 2**20  # bytes of an array from which on `survey` does not keep it
BLOCK = 2**23  # bytes of an array that `survey` has in memory

FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Everything in an HDF5 file as nested dictionaries.

    What it may cost is in `spyx_nir.limits`.

    Returns:
        Groups as dictionaries in order of name; numbers as arrays, or NumPy scalars where the shape
        is (), in the byte order of this machine; texts as `str`, or arrays of `str` (dtype object).
        An empty dataspace is an array of shape (0,).

    Raises:
        GraphError: not to be read, damaged, beyond the limits, or anything but groups, numbers and
            texts; one line that names file, place and value.
    """
    return _opened(path, _Reader.contents)


class Sketch(np.ndarray):
    """Shape, type and range of an array that was not kept, in no memory.

    Every entry reads as the one of largest magnitude, so that checks of finite numbers hold.
    """

    low: Any
    high: Any


def ends(array: np.ndarray) -> tuple[Any, Any]:
    """The least and the largest of an array, or of what a `Sketch` stands for."""
    if isinstance(array, Sketch) and hasattr(array, "low"):
        return array.low, array.high
    return array.min(), array.max()


def survey(path: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """As `read`, with a `Sketch` in the place of every large array, and the digest of the content.

    Large arrays are read block by block, each once. One that holds NaN, an infinite number or a time
    constant that is not above 0 is kept, because a message names the place.

    Raises:
        GraphError: as `read`.
    """
    return _opened(path, _Reader.surveyed)


def add_to_digest(total: Any, name: str, value: Any) -> None:
    """Add a text or an array, under the name of its place, to the digest of a file's content."""
    array = np.asarray(value)
    if array.dtype.kind in "OU":
        total.update(_head(name, "text", array.shape))
        total.update(b"\0".join(text.encode() for text in array.ravel().tolist()))
    else:
        dtype = array.dtype.newbyteorder("<")
        total.update(_head(name, dtype.str, array.shape))
        total.update(np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data)
    total.update(b"\0")


def _head(name: str, kind: str, shape: Shape) -> bytes:
    return f"{name}\0{kind}\0{shape}\0".encode()


def _opened(path: str | os.PathLike[str], work: Callable[[_Reader, h5py.File], T]) -> T:
    """What `work` makes of a file that was opened for reading."""
    path = Path(path)
    try:
        if not path.exists():
            raise GraphError("no such file")
        if not path.is_file():
            raise GraphError("no regular file")
        size = path.stat().st_size
        if not h5py.is_hdf5(path):
            raise GraphError(f"no HDF5 file ({size} bytes), which a .nir file is")
        with h5py.File(path, "r") as file, open(path, "rb") as stream:
            creation = file.id.get_create_plist()
            if creation.get_userblock() or creation.get_sizes() != (8, 8):
                what = "HDF5 with a user block or addresses of other than 64 bits"
                raise GraphError(f"{what}; nir.write makes neither")
            return work(_Reader(size, _Heap(stream, size)), file)
    except GraphError as error:
        error.code = error.code or "unreadable"
        raise error.within(path) from None
    except OSError as error:
        reason = error.strerror if error.errno and error.strerror else one_line(error)
        raise GraphError(f"{path}: not to be read: {reason}", code="unreadable") from None
    except Exception as error:  # what h5py raises on damage has no common class
        raise GraphError(f"{path}: damaged HDF5: {one_line(error)}", code="unreadable") from None


def _error(place: str, what: str) -> GraphError:
    """The error of a group or array, by its place in the file."""
    return GraphError(f"`{place}` {what}")


@dataclass
class _Array:
    """An array that was weighed and may be read."""

    place: str
    item: Any  # a DatasetID; None: it was read
    dtype: np.dtype
    shape: Shape
    text: bool


def _numbers(array: _Array) -> np.ndarray:
    found = np.empty(array.shape, array.dtype)
    array.item.read(h5py.h5s.ALL, h5py.h5s.ALL, found)
    return found


@dataclass
class _Heap:
    """Texts of any length, which are in "global heap collections" of the file.

    The HDF5 library (1.14) loops for ever on a damaged collection and writes past its buffer where a
    text and its place in the heap differ in length, so they are read here: "HDF5 File Format
    Specification", III.E (the heap) and IV.A.2.d (type class 9: length, address and index).
    """

    file: BinaryIO
    size: int
    spent: int = 0
    collections: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def texts(self, array: _Array) -> Iterator[bytes]:
        """Every text of an array, in C order."""
        count = math.prod(array.shape)
        for length, address, index in struct.iter_unpack("<IQI", self.descriptors(array, count)):
            if length == 0:
                yield b""
                continue
            text = self.collection(address, array.place).get(index)
            if text is None or len(text) < length:
                raise _error(array.place, "points to a text that is not in the file")
            yield text[:length].rstrip(b"\0")

    def descriptors(self, array: _Array, count: int) -> bytes:
        creation, item = array.item.get_create_plist(), array.item
        layout = creation.get_layout()
        if layout == h5py.h5d.CONTIGUOUS and (offset := item.get_offset()) is not None:
            return self.part(offset, 16 * count, array.place)
        if layout == h5py.h5d.CHUNKED and item.get_num_chunks() == 1:
            info = item.get_chunk_info(0)
            shape, chunks = array.shape, creation.get_chunk()
            # One chunk that is filled in all but its first axis: its beginning is the array.
            filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
            plain = filters in ([], [h5py.h5z.FILTER_DEFLATE]) and info.filter_mask == 0
            if plain and chunks[1:] == shape[1:] and chunks[0] >= shape[0]:
                raw = self.part(info.byte_offset, info.size, array.place)
                if filters:
                    raw = zlib.decompressobj().decompress(raw, 16 * count)
                if len(raw) >= 16 * count:
                    return raw[: 16 * count]
        if count == 0:
            return b""
        what = "stores its texts in a way that is not read here, and not as nir.write does"
        raise _error(array.place, what)

    def part(self, offset: int, size: int, place: str) -> bytes:
        self.spent += size
        if min(offset, size) < 0 or offset + size > self.size:
            raise _error(place, "is outside the file")
        check_limit(
            "text", self.spent // 4, f"`{place}`: texts take {self.spent} bytes of the file"
        )
        self.file.seek(offset)
        return self.file.read(size)

    def collection(self, address: int, place: str) -> dict[int, bytes]:
        """The objects of one collection by index."""
        if address in self.collections:
            return self.collections[address]
        head = self.part(address, 16, place)
        (size,) = struct.unpack("<Q", head[8:])
        if head[:5] != b"GCOL\x01" or size < 32:
            raise _error(place, "points to a text that is not in the file")
        raw = self.part(address, size, place)
        found: dict[int, bytes] = {}
        at = 16
        while at + 16 <= size:
            index, _, length = struct.unpack("<HH4xQ", raw[at : at + 16])
            if index == 0:  # the free rest
                break
            if length > size - at - 16:
                raise _error(place, "points to texts that overlap")
            found[index] = raw[at + 16 : at + 16 + length]
            at += 16 + -(-length // 8) * 8
        self.collections[address] = found
        return found


@dataclass
class _Reader:
    """One pass that looks at every object, then one that reads the large arrays."""

    size: int
    heap: _Heap
    arrays: list[tuple[dict[str, Any], str, _Array]] = field(default_factory=list)
    seen: dict[tuple[int, int], str] = field(default_factory=dict)
    values: int = 0
    unpacked: int = 0
    text: int = 0

    def contents(self, file: h5py.File) -> dict[str, Any]:
        found = self.described(file)
        for group, name, array in self.arrays:
            if array.item is not None:
                group[name] = self.value(array)
        return found

    def surveyed(self, file: h5py.File) -> tuple[dict[str, Any], str]:
        found, total = self.described(file), hashlib.sha256()
        for group, name, array in sorted(self.arrays, key=lambda one: one[2].place):
            large = not array.text and math.prod(array.shape) * array.dtype.itemsize >= SKETCHED
            if large and array.shape:
                group[name] = self.sketch(array, total)
            else:
                if array.item is not None:
                    group[name] = self.value(array)
                add_to_digest(total, array.place[1:], group[name])
        return found, total.hexdigest()

    def described(self, file: h5py.File) -> dict[str, Any]:
        """The groups, and small arrays; every large one was weighed, and none was read."""
        found: dict[str, Any] = {}
        self.once(file.id, "/")
        self.look(file.id, "", found, 0)
        if self.unpacked > max(SMALL, UNPACKS * self.size):
            raise GraphError(
                f"the arrays claim {self.unpacked} bytes, more than a file of {self.size} "
                "bytes can hold"
            )
        if self.unpacked > MEDIUM:
            claims = f"the arrays unpack to {self.unpacked} bytes, from a file of {self.size}"
            check_limit("ratio", -(-self.unpacked // self.size), claims)
        return found

    def sketch(self, array: _Array, total: Any) -> np.ndarray:
        dtype = array.dtype.newbyteorder("<")
        total.update(_head(array.place[1:], dtype.str, array.shape))
        lows, highs = [], []
        for block in _blocks(array):
            total.update(np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data)
            lows.append(block.min())
            highs.append(block.max())
        total.update(b"\0")
        low, high = np.min(lows), np.max(highs)
        tau = array.place.rpartition("/")[2].startswith("tau")
        if not np.isfinite([low, high]).all() or (tau and low <= 0):
            return np.asarray(self.value(array))
        largest = low if abs(float(low)) > abs(float(high)) else high
        made = np.broadcast_to(np.asarray(largest), array.shape).view(Sketch)
        made.low, made.high = low, high
        return made

    def once(self, item: Any, place: str) -> None:
        info = h5py.h5o.get_info(item)
        first = self.seen.setdefault((info.fileno, info.addr), place)
        if first != place:
            raise _error(place, f"and `{first}` are one object: a cycle, or a second name")
        claims = (
            f"`{place}`: there are {len(self.seen)} groups and arrays, {OBJECTS} a node are read"
        )
        check_limit("nodes", len(self.seen) // OBJECTS, claims)

    def look(self, group: Any, prefix: str, found: dict[str, Any], depth: int) -> None:
        # A subgraph takes two groups, a node's metadata three more.
        claims = f"`{prefix[:60]}...`: groups nested {depth} deep, two for each subgraph"
        check_limit("depth", (depth - 6) // 2, claims)
        links = group.links
        for raw, name in _names(group, prefix):
            place = f"{prefix}/{name}"
            kind = links.get_info(raw).type
            if kind != h5py.h5l.TYPE_HARD:
                what = {
                    h5py.h5l.TYPE_SOFT: "a soft link",
                    h5py.h5l.TYPE_EXTERNAL: "a link to a file",
                }
                raise _error(place, f"is {what.get(kind, 'a link')}; only data is read")
            item = h5py.h5o.open(group, raw)
            self.once(item, place)
            if isinstance(item, h5py.h5g.GroupID):
                inner: dict[str, Any] = {}
                found[name] = inner
                self.look(item, place, inner, depth + 1)
            elif isinstance(item, h5py.h5d.DatasetID):
                array = self.weigh(place, item)
                small = math.prod(array.shape) * array.dtype.itemsize <= KEPT_OPEN
                found[name] = self.value(array) if small else None
                if small:
                    array.item = None
                self.arrays.append((found, name, array))
            else:
                raise _error(place, "is a named type; only groups and arrays are read")

    def weigh(self, place: str, item: h5py.h5d.DatasetID) -> _Array:
        """Refuse an array by its description, before a byte of it is read."""
        try:
            dtype = item.dtype
        except (TypeError, ValueError) as error:
            raise _error(place, f"holds a type that is no number: {one_line(error)}") from None
        text = h5py.check_string_dtype(dtype) is not None
        if not text and (dtype.kind not in "biuf" or dtype.itemsize > 8):
            raise _error(place, f"holds {_type(dtype)}; numbers up to 64 bits and text are read")
        if item.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            return _Array(place, item, dtype, (0,), text)
        shape = item.shape
        count = stored = math.prod(shape)
        creation = item.get_create_plist()
        layout = creation.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise _error(place, "is put together from other arrays (virtual); only data is read")
        if creation.get_external_count():
            raise _error(place, "is in another file (external storage); only data is read")
        for index in range(creation.get_nfilters()):
            code = creation.get_filter(index)[0]
            if code not in FILTERS:
                known = ", ".join(FILTERS.values())
                raise _error(place, f"is packed with filter {code}; known are {known}")
        if layout == h5py.h5d.CHUNKED:
            chunks = creation.get_chunk()
            whole = [-(-n // c) * c for n, c in zip(shape, chunks, strict=True)]
            stored = max(math.prod(whole), math.prod(chunks))
        self.values += count
        self.unpacked += stored * dtype.itemsize
        # The reference and the tools compute in float64.
        most = max(self.unpacked, 8 * self.values)
        claims = (
            f"`{place}` has shape {_shape(shape)}: the file claims {self.values} values or more"
        )
        check_limit("bytes", most, f"{claims}, {most} bytes as float64")
        if text and (len(shape) > 2 or math.prod(shape[1:]) > 64):
            raise _error(place, f"holds texts in shape {_shape(shape)}; pairs are read")
        if text and shape:
            check_limit("edges", shape[0], f"`{place}` holds {shape[0]} texts or pairs of texts")
        return _Array(place, item, dtype, shape, text)

    def value(self, array: _Array) -> Any:
        if array.shape == (0,):  # also an empty dataspace, which HDF5 does not read
            return np.empty(0, object if array.text else array.dtype.newbyteorder("="))
        if array.text:
            long = array.dtype.kind == "O"  # of any length
            raw = self.heap.texts(array) if long else map(bytes, _numbers(array).ravel())
            texts = [self.decoded(array.place, one) for one in raw]
            if array.shape == ():
                return texts[0]
            value = np.empty(len(texts), object)
            value[:] = texts
            return value.reshape(array.shape)
        return _numbers(array).astype(array.dtype.newbyteorder("="), copy=False)[()]

    def decoded(self, place: str, raw: bytes) -> str:
        self.text += len(raw)
        check_limit("text", self.text, f"`{place}`: {self.text} bytes of text")
        try:
            return raw.decode("utf8")
        except UnicodeDecodeError:
            raise _error(place, f"holds {raw[:40]!r}, which is no UTF-8 text") from None


def _blocks(array: _Array) -> Iterator[np.ndarray]:
    """An array (n, ...) as parts (m, ...) in order, of about `BLOCK` bytes; every chunk is in one."""
    creation = array.item.get_create_plist()
    chunked = creation.get_layout() == h5py.h5d.CHUNKED
    least = creation.get_chunk()[0] if chunked else 1
    row = math.prod(array.shape[1:]) * array.dtype.itemsize
    rows = max(1, BLOCK // max(1, row * least)) * least
    zeros = (0,) * (len(array.shape) - 1)
    for start in range(0, array.shape[0], rows):
        shape = (min(rows, array.shape[0] - start), *array.shape[1:])
        where = array.item.get_space()
        where.select_hyperslab((start, *zeros), shape)
        block = np.empty(shape, array.dtype)
        array.item.read(h5py.h5s.create_simple(shape), where, block)
        yield block


def _names(group: Any, prefix: str) -> Iterator[tuple[bytes, str]]:
    """The names in a group, as stored and as text, in order of text."""
    count = group.get_num_objs()
    check_limit("nodes", count, f"`{prefix}/` has {count} members")
    found = []
    for raw in group:
        name = raw.decode("utf8", "backslashreplace")
        if len(name) > MAX_NAME:
            raise GraphError(
                f"`{prefix}/` has a name of {len(name)} characters; {MAX_NAME} are read"
            )
        try:
            fine = raw.decode("utf8").isprintable()
        except UnicodeDecodeError:
            fine = False
        if not fine:
            raise GraphError(f"`{prefix}/` has the name {raw!r}; names are printable UTF-8")
        found.append((name, raw))
    for name, raw in sorted(found):
        yield raw, name


def _type(dtype: np.dtype) -> str:
    if h5py.check_ref_dtype(dtype) is not None:
        return "references"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "arrays of different lengths"
    if dtype.names is not None:
        return f"records of {', '.join(dtype.names)[:60]}"
    return f"values of type {dtype}"


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
