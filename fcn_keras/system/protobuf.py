"""Protobuf messages without their classes: the few rules of the wire format.

The classes of TensorFlow's messages come with its Python alone."""


def entries(message, number):
    """The entries of a protobuf map."""
    for entry in (value for found, value in fields(message) if found == number):
        yield field(entry, 1).decode(), field(entry, 2)


def field(message, number):
    return next((value for found, value in fields(message) if found == number), b"")


def fields(message):
    """Takes a serialised protobuf message apart into numbers and values."""

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    at = 0
    while at < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
            value = message[at : at + size]
            at += size
        yield key >> 3, value


def encoded_field(number, content):
    """A field of a protobuf message: its number and kind, its length, its content."""
    length, left = b"", len(content)
    while left > 127:
        length += bytes([left % 128 + 128])
        left //= 128
    return bytes([8 * number + 2]) + length + bytes([left]) + content
