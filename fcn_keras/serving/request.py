"""What a request of TensorFlow Serving's REST protocol holds: what its parser takes is taken.

That is: JSON in UTF-8, the first of two equal names, base64 with or without padding and with white
space anywhere, whole numbers without a fraction (7, not 7.0 or true), `instances` of which all or
none have names, any more names in `inputs`; and a body packed by gzip. One thing is refused that
TensorFlow Serving takes: numbers that 8 bits (or 16) do not hold, which it would cut to their
last bits.
"""

import base64
import json
import re
import zlib
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fcn_keras.errors import UserError

# As in TensorFlow Serving: of more, a body is one made to fill the memory.
_MAX_BODY = 100 << 20


class Request(NamedTuple):
    """What is asked.

    Attributes:
        signature: whose answer is wanted; empty for the usual one.
        values: `instances` or `inputs`, as they came.
        by_rows: whether it is `instances`.
    """

    signature: str
    values: Any
    by_rows: bool


def unpacked(body: bytes, encoding: str = "") -> bytes:
    """Returns a body as it was before it was packed.

    Args:
        body: what came.
        encoding: the header Content-Encoding; anything but gzip changes nothing.

    Raises:
        UserError: if it is not packed so, damaged, or of more than 100 MB.
    """
    if "gzip" not in encoding:
        return body
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(body, _MAX_BODY)
    except zlib.error as error:
        raise UserError(f"The body is not packed by gzip: {error}.") from error
    if not unpacker.eof:
        raise UserError("The body, packed by gzip, is cut off, or has more than 100 MB.")
    return found


def parse(body: Any) -> Request:
    """Reads a request.

    Args:
        body: JSON, or what it says.

    Raises:
        UserError: if it is no request.
    """
    if isinstance(body, bytes):
        try:
            text = body.decode("utf-8-sig")
            body = json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        except (ValueError, RecursionError) as error:
            raise UserError(f"The body is no JSON: {error}.") from error
    if not isinstance(body, dict) or ("instances" in body) == ("inputs" in body):
        raise UserError("The body must be a JSON object with either `instances` or `inputs`.")
    signature = body.get("signature_name", "")
    if not isinstance(signature, str):
        raise UserError(f"`signature_name` must be a text. Received: {shown(signature)}.")
    by_rows = "instances" in body
    return Request(signature, body["instances" if by_rows else "inputs"], by_rows)


def input_tensor(request: Request, name: str, spec: tf.TensorSpec) -> tf.Tensor:
    """Returns the one input that a signature has.

    Args:
        request: what is asked.
        name: the input's name.
        spec: its dtype and shape.

    Raises:
        UserError: if there is something else.
    """
    values = _from_rows(request.values, name) if request.by_rows else request.values
    if _has_names(values):
        if name not in values:
            raise UserError(f"`inputs` must have {name}. Received: {', '.join(values) or 'none'}.")
        values = values[name]
    if not isinstance(values, list):
        raise UserError(f"{name} must be a list. Received: {shown(values)}.")
    if spec.dtype == tf.string:
        return tf.constant([_to_bytes(v, f"{name}[{i}]") for i, v in enumerate(values)], tf.string)
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.asarray(None)
    kinds, words = ("iu", "whole numbers") if spec.dtype.is_integer else ("iuf", "numbers")
    right = array.dtype.kind in kinds and not _has_booleans(values)
    if not right or not spec.shape.is_compatible_with(array.shape):
        shape = ", ".join("any" if side is None else str(side) for side in spec.shape)
        raise UserError(f"{name} must be {words} of the shape ({shape}), all images of one size.")
    if spec.dtype.is_integer and array.size:
        if not 0 <= array.min() <= array.max() <= spec.dtype.max:
            raise UserError(f"{name} must be from 0 to {spec.dtype.max}.")
    return tf.constant(array, spec.dtype)


def _from_rows(instances, name):
    if not isinstance(instances, list) or not instances:
        raise UserError(
            f"`instances` must be a list of at least one. Received: {shown(instances)}."
        )
    named = _has_names(instances[0])
    for i, instance in enumerate(instances):
        if _has_names(instance) != named or named and instance.keys() != {name}:
            with_name = f'like {{"{name}": ...}}' if named else f"no object, as {name}[0] is none"
            raise UserError(f"{name}[{i}] must be {with_name}. Received: {shown(instance)}.")
    return [instance[name] for instance in instances] if named else instances


def _is_base64(value):
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _has_names(value):
    return isinstance(value, dict) and not _is_base64(value)


def _has_booleans(values):
    # Looking at every number takes as long as reading it.
    return any(
        _has_booleans(value) if isinstance(value, list) else isinstance(value, bool)
        for value in values
    )


def _to_bytes(value, place):
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{place} is no text: half a character.") from error
    if not _is_base64(value):
        raise UserError(f'{place} must be like {{"b64": BASE64}}. Received: {shown(value)}.')
    text = value["b64"]
    if len(text) % 4 == 0:
        with suppress(ValueError):
            return base64.b64decode(text, validate=True)
    # White space counts for nothing, dots count as padding, and there need be none.
    match = re.fullmatch("([A-Za-z0-9+/]*)([=.]*)", re.sub("[ \t\n\v\f\r]", "", text))
    missing = -len(match[1]) % 4 if match else 3
    if not match or missing == 3 or len(match[2]) not in (0, missing):
        raise UserError(f"{place} is no base64. Received: {shown(text)}.")
    return base64.b64decode(match[1] + "=" * missing)


def shown(value: Any) -> str:
    """Returns the beginning of a value as JSON."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
