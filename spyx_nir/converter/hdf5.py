"""HDF5 files from anybody, as plain dictionaries: refused before they cost time or memory.

HDF5 can point into other files, at itself, and at more data than any memory holds. A NIR graph
needs none of that, so everything is refused here except groups, and arrays of numbers and texts
that are in the file itself, each under exactly one name.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from spyx_nir.errors import GraphError, one_line
from spyx_nir.meaning.equations import Shape

# Limits of one file. The largest networks that chips of today run have some ten million weights.
MAX_VALUES = 2**28  # numbers, all arrays together
MAX_BYTES = 2**31  # the same unpacked, whole chunks counted
MAX_OBJECTS = 2**13  # groups and arrays: about 1000 nodes; each costs half a millisecond
MAX_DEPTH = 40  # groups inside groups; a subgraph takes two
MAX_NAME = 256  # characters of a name
MAX_TEXT = 2**24  # bytes of all texts together

# What deflate can do at best (1032 to 1) and a bit: an array that claims to unpack to more than its
# file could hold is not worth allocating.
UNPACKS = 1100
SMALL = 2**24  # bytes that are cheap enough not to ask

FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Everything in an HDF5 file as nested dictionaries.

    Returns:
        Groups as dictionaries in order of name; numbers as arrays, or NumPy scalars where the shape
        is (), in the byte order of this machine; texts as `str`, or arrays of `str` (dtype object).
        An empty dataspace is an array of shape (0,).

    Raises:
        GraphError: not to be read, damaged, beyond the limits above, or anything but groups,
            numbers and texts; one line that names file, place and value.
    """
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
            return _Reader(size, _Heap(stream, size)).contents(file)
    except GraphError as error:
        error.code = "unreadable"
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
    item: h5py.h5d.DatasetID
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
        if self.spent > 4 * MAX_TEXT:
            raise GraphError(f"`{place}`: more than {MAX_TEXT} bytes of text in one file")
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
    """One pass that looks at every object, then one that reads the arrays."""

    size: int
    heap: _Heap
    arrays: list[tuple[dict[str, Any], str, _Array]] = field(default_factory=list)
    seen: dict[tuple[int, int], str] = field(default_factory=dict)
    values: int = 0
    unpacked: int = 0
    text: int = 0

    def contents(self, file: h5py.File) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.once(file.id, "/")
        self.look(file.id, "", found, 0)
        if self.unpacked > max(SMALL, UNPACKS * self.size):
            raise GraphError(
                f"the arrays claim {self.unpacked} bytes, more than a file of {self.size} "
                "bytes can hold"
            )
        for group, name, array in self.arrays:
            group[name] = self.value(array)
        return found

    def once(self, item: Any, place: str) -> None:
        info = h5py.h5o.get_info(item)
        first = self.seen.setdefault((info.fileno, info.addr), place)
        if first != place:
            raise _error(place, f"and `{first}` are one object: a cycle, or a second name")
        if len(self.seen) > MAX_OBJECTS:
            raise GraphError(f"more than {MAX_OBJECTS} groups and arrays")

    def look(self, group: Any, prefix: str, found: dict[str, Any], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise GraphError(f"`{prefix[:60]}...`: groups nested more than {MAX_DEPTH} deep")
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
                found[name] = None
                self.arrays.append((found, name, self.weigh(place, item)))
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
        if self.values > MAX_VALUES or self.unpacked > MAX_BYTES:
            raise GraphError(
                f"`{place}` has shape {_shape(shape)}: the file claims {self.values} values or more "
                f"({self.unpacked} bytes); at most {MAX_VALUES} ({MAX_BYTES} bytes) are read"
            )
        if text and (len(shape) > 2 or math.prod(shape[1:]) > 64):
            raise _error(place, f"holds texts in shape {_shape(shape)}; pairs are read")
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
        if self.text > MAX_TEXT:
            raise GraphError(f"`{place}`: more than {MAX_TEXT} bytes of text in one file")
        try:
            return raw.decode("utf8")
        except UnicodeDecodeError:
            raise _error(place, f"holds {raw[:40]!r}, which is no UTF-8 text") from None


def _names(group: Any, prefix: str) -> Iterator[tuple[bytes, str]]:
    """The names in a group, as stored and as text, in order of text."""
    count = group.get_num_objs()
    if count > MAX_OBJECTS:
        raise GraphError(f"`{prefix}/` has {count} members; at most {MAX_OBJECTS} are read")
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
