"""Caffe's `.caffemodel` files, read without Caffe.

Such a file is a protocol buffer: a message of numbered fields, some of which are messages again.
Weights need a dozen of Caffe's hundreds of fields, so the few rules of the wire format
(https://protobuf.dev/programming-guides/encoding) stand here in place of a generated parser.
That saves copies, too: nearly all of a file is packed float32, of which an array is a view.
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcn_keras.errors import UserError

# Wire types, and how many bytes those of a fixed size have.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}

# Fields of BlobProto; its first four are the shape in old files.
LEGACY_SHAPE = (1, 2, 3, 4)
SHAPE, SHAPE_DIM = 7, 1

# Fields of its numbers: of what type these are, and the wire type of one that stands alone.
DATA, DOUBLE_DATA = 5, 8
NUMBERS = {DATA: ("<f4", FIXED32), DOUBLE_DATA: ("<f8", FIXED64)}

# Caffe's own bounds of a blob.
MAX_AXES, MAX_DIM = 32, 2**31 - 1


class Layout(NamedTuple):
    """Where a kind of layer message keeps what is needed."""

    name: int
    blobs: int
    inner: dict[int, "Layout"]  # field -> the message in it that has name and blobs instead


# Fields of NetParameter: layers as before 2014, in which those of the first releases may be, and
# as they are since.
NET = {
    2: Layout(name=4, blobs=6, inner={1: Layout(name=1, blobs=50, inner={})}),
    100: Layout(name=1, blobs=7, inner={}),
}

# What other files begin with, and what to do with them.
OTHERS = {
    b"\x89HDF": "It is an HDF5 file: let Caffe write its snapshots as BINARYPROTO.",
    b"PK": "It is a zip archive: unpack it, or give it the suffix of what it holds.",
    b"\x1f\x8b": "It is compressed: unpack it with gunzip.",
}


class Damage(Exception):
    """Why bytes are no caffemodel."""


def read(path: Path) -> dict[str, list[np.ndarray]]:
    """Reads the blobs of all layers that have any.

    Args:
        path: a `.caffemodel` of any age: layers as in Caffe since 2014 (`layer`), as before
            (`layers`), or as in its first releases.

    Returns:
        Layer name -> blobs as float32, most of them views of the file.

    Raises:
        UserError: if the file is damaged or something else; names it.
    """
    try:
        with open(path, "rb") as file:
            # The arrays keep the map alive; it is released with the last of them.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.read(1) else b""
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return _net(data)
    except Damage as damage:
        raise UserError(f"{path}: is no whole caffemodel: {damage}. {_advice(data)}") from damage


def _net(data):
    blobs = {}
    for field, wire, value in Fields(data, 0, len(data)):
        if wire == BYTES and field in NET:
            name, arrays = _layer(data, value, NET[field])
            if not arrays:
                continue
            if name in blobs:
                raise Damage(f"two layers with weights are named {name!r}")
            blobs[name] = arrays
    if not len(data):
        raise Damage("it is empty")
    if not blobs:
        raise Damage("no layer in it has weights")
    return blobs


def _layer(data, span, layout):
    name, blobs = "", []
    for field, wire, value in Fields(data, *span):
        if wire != BYTES:
            continue
        if field in layout.inner:
            name, blobs = _layer(data, value, layout.inner[field])
        elif field == layout.name:
            # Bytes that are no text become none that can be printed.
            name = data[slice(*value)].decode(errors="surrogateescape")
        elif field == layout.blobs:
            blobs.append(_blob(data, value))
    if blobs and not (name and name.isprintable()):
        raise Damage(f"a layer with weights before byte {span[1]} has no readable name")
    return name, blobs


def _blob(data, span):
    legacy, shape, numbers = {}, [], {DATA: [], DOUBLE_DATA: []}
    fields = Fields(data, *span)
    for field, wire, value in fields:
        if field in LEGACY_SHAPE and wire == VARINT:
            legacy[field] = value
        elif field == SHAPE and wire == BYTES:
            shape += _shape(data, value)
        elif field in NUMBERS:
            dtype, alone = NUMBERS[field]
            if wire == BYTES:
                numbers[field].append(_packed(data, value, dtype))
            elif wire == alone:
                numbers[field].append(fields.run(dtype))
    if legacy:
        shape = [legacy.get(field, 0) for field in LEGACY_SHAPE]
    pieces = numbers[DOUBLE_DATA] or numbers[DATA]
    count = sum(piece.size for piece in pieces)
    # A shape of zero numbers is refused, too: no layer has such weights.
    if any(not 0 < dim <= MAX_DIM for dim in shape) or math.prod(shape) != count:
        raise Damage(
            f"the weights before byte {span[1]} are {count} numbers, which is not their shape "
            f"{tuple(shape)}"
        )
    array = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    with np.errstate(all="ignore"):  # Doubles beyond float32 become infinite.
        array = np.ascontiguousarray(array, "<f4").reshape(shape)
    array.flags.writeable = False
    return array


def _shape(data, span):
    shape = []
    for field, wire, value in Fields(data, *span):
        if field == SHAPE_DIM and wire == VARINT:
            shape.append(value)
        elif field == SHAPE_DIM and wire == BYTES:
            position, end = value
            while position < end and len(shape) <= MAX_AXES:
                dim, position = _varint(data, position, end)
                shape.append(dim)
        if len(shape) > MAX_AXES:
            raise Damage(f"the shape before byte {span[1]} has more than {MAX_AXES} axes")
    return shape


def _packed(data, span, dtype):
    size = span[1] - span[0]
    if size % np.dtype(dtype).itemsize:
        raise Damage(f"the weights before byte {span[1]} end within a number")
    return np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, span[0])


class Fields:
    """Walks over the fields of a message.

    Yields:
        `(field, wire, value)`: its number, its wire type, and what it holds: a `VARINT` a
        number, any other the `(start, end)` of its bytes.
    """

    def __init__(self, data: mmap.mmap | bytes, start: int, end: int):
        self.data, self.position, self.end = data, start, end

    def __iter__(self) -> Iterator[tuple[int, int, Any]]:
        while self.position < self.end:
            start = self.position
            tag, position = _varint(self.data, start, self.end)
            field, wire = tag >> 3, tag & 7
            if not 0 < field < 2**29 or wire not in (VARINT, BYTES, *FIXED):
                raise Damage(f"there is no field at byte {start}")
            if wire == VARINT:
                value, self.position = _varint(self.data, position, self.end)
            else:
                size = FIXED.get(wire)
                if size is None:
                    size, position = _varint(self.data, position, self.end)
                self.position = position + size
                value = position, self.position
            if self.position > self.end:
                raise Damage(f"what begins at byte {start} should go on to byte {self.position}")
            yield field, wire, value

    def run(self, dtype: str) -> np.ndarray:
        """The number just read and those behind it, each in a field of its own.

        Old files keep weights like this. Such a run is an array of (tag, number) records.
        """
        record = np.dtype([("tag", "u1"), ("number", dtype)])
        start = self.position - record.itemsize
        rest = np.frombuffer(self.data, record, (self.end - start) // record.itemsize, start)
        count, step = 1, 64
        # In growing steps, so that neither a long run nor many short ones take long.
        while count < rest.size:
            same = rest["tag"][count : count + step] == rest["tag"][0]
            if not same.all():
                count += int(same.argmin())
                break
            count += same.size
            step *= 2
        self.position = start + count * record.itemsize
        return rest["number"][:count]


def _varint(data, position, end):
    """Reads a number of 7 bits per byte; all but its last byte have the eighth bit set."""
    number = 0
    for i, byte in enumerate(data[position : min(position + 10, end)]):
        number |= (byte & 127) << (7 * i)
        if byte < 128:
            return number, position + i + 1
    raise Damage(f"there is no field at byte {position}")


def _advice(data):
    """What a file that is no caffemodel seems to be, and what to do."""
    start = data[:512]
    for magic, advice in OTHERS.items():
        if start.startswith(magic):
            return advice
    if start and not any(byte < 32 and byte not in b"\t\n\r" for byte in start):
        return "It is text: give the trained weights, not a prototxt or a web page."
    return "Download or copy it again, and compare its size."
