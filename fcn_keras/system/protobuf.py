"""Protobuf messages without their classes: the few rules of the wire format.

The classes of TensorFlow's messages come with its Python alone.
"""

from collections.abc import Iterator


def entries(message: bytes, number: int) -> Iterator[tuple[str, bytes]]:
    """Gives the keys and values of a map, which is a field of a message."""
    for key, entry in fields(message):
        if key == number:
            yield field(entry, 1).decode(), field(entry, 2)


def field(message: bytes, number: int) -> bytes:
    """Returns the content of a field of a message; nothing if it is not set."""
    return next((content for key, content in fields(message) if key == number), b"")


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Gives the numbers and contents of a message's fields: texts, bytes and messages alone."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}[kind]


def _varint(message, at):
    """A number of any size, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def encoded_field(number: int, content: bytes) -> bytes:
    """Returns a field of a message: its number and kind, its length, its content."""
    length, left = b"", len(content)
    while left > 127:
        length += bytes([left % 128 + 128])
        left //= 128
    return bytes([8 * number + 2]) + length + bytes([left]) + content
