"""What a request may hold: instances of what TensorFlow Serving's parser takes and refuses."""

import base64
import gzip
import json

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import UserError
from fcn_keras.serving.request import input_tensor, parse, unpacked

FILES = ("image_bytes", tf.TensorSpec((None,), tf.string))
IMAGES = ("image", tf.TensorSpec((None, None, None, 3), tf.uint8))

# Of every length that base64 fills up in its way, with the letters 62 and 63 in it.
DATA = [bytes([251, 239, 255, 190, 0])[:length] for length in range(6)]
LETTERS = [base64.b64encode(data).decode() for data in DATA]


def read(body, to=FILES):
    return input_tensor(parse(body), *to).numpy().tolist()


def b64(text):
    return {"instances": [{"b64": text}]}


@pytest.mark.parametrize("length", range(6))
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text,
        lambda text: text.rstrip("="),
        lambda text: text.replace("=", "."),
        lambda text: "\r\n".join(text) + "\n",
        lambda text: " \t\v\f" + text.rstrip("=") + "  ",
        lambda text: text.replace("=", " = "),
    ],
)
def test_base64_that_is_taken(length, written):
    assert read(b64(written(LETTERS[length]))) == [DATA[length]]
    assert read(json.dumps(b64(written(LETTERS[length]))).encode()) == [DATA[length]]


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AAAAA",
        "AA=",
        "AAA==",
        "AAAA=",
        "====",
        "=",
        "AA=A",
        "A===",
        "-_-_",
        "AA\0A",
        "AA\xa0A",
        "Ä",
    ],
)
def test_base64_that_is_not(text):
    with pytest.raises(UserError, match=r"image_bytes\[0\] is no base64") as caught:
        read(b64(text))
    assert "\n" not in str(caught.value)


A = {"b64": "YQ=="}
PIXEL = [[[1, 2, 3]]]


@pytest.mark.parametrize(
    "body, expected",
    [
        ({"instances": [A, A]}, [b"a", b"a"]),
        ({"instances": ["a", A, "é"]}, [b"a", b"a", "é".encode()]),
        ({"instances": [{"image_bytes": A}, {"image_bytes": "b"}]}, [b"a", b"b"]),
        ({"inputs": [A, "b"]}, [b"a", b"b"]),
        ({"inputs": {"image_bytes": [A]}}, [b"a"]),
        ({"inputs": {"image_bytes": [A], "more": 3}}, [b"a"]),
        ({"inputs": {"image_bytes": []}}, []),
        ({"instances": [A], "signature_name": "", "more": None}, [b"a"]),
        (b'\xef\xbb\xbf{"instances": ["a"]}', [b"a"]),
        (b' {"instances" :\n["\\u00e9"]} \r\n', ["é".encode()]),
        (b'{"instances": ["a"], "instances": ["b"]}', [b"a"]),
    ],
)
def test_files_that_are_taken(body, expected):
    assert read(body) == expected
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert read(unpacked(gzip.compress(body), "gzip")) == expected
    assert read(unpacked(body, "identity")) == expected


@pytest.mark.parametrize(
    "body, expected",
    [
        ({"instances": [PIXEL, PIXEL]}, [PIXEL, PIXEL]),
        ({"instances": [{"image": PIXEL}]}, [PIXEL]),
        ({"inputs": [PIXEL]}, [PIXEL]),
        ({"inputs": {"image": [PIXEL]}}, [PIXEL]),
        (b'{"inputs": [[[[-0, 255, 7]]]]}', [[[[0, 255, 7]]]]),
    ],
)
def test_images_that_are_taken(body, expected):
    assert read(body, IMAGES) == expected


@pytest.mark.parametrize(
    "body, to, words",
    [
        (b"", FILES, "is no JSON"),
        (b"\xff\xfe{\0}\0", FILES, "is no JSON"),
        (b'{"instances": ["\xe9"]}', FILES, "is no JSON"),
        (b'{"instances": ["a"]} more', FILES, "is no JSON"),
        (b'{"instances": ["a\nb"]}', FILES, "is no JSON"),
        (b'{"instances": ["\\ud800"]}', FILES, r"image_bytes\[0\] is no text"),
        ({"instances": []}, FILES, "`instances` must be a list of at least one"),
        ({"instances": {"image_bytes": [A]}}, FILES, "`instances` must be a list"),
        ({"instances": [A], "signature_name": None}, FILES, "`signature_name` must be a text"),
        ({"instances": [A, {"image_bytes": A}]}, FILES, r"image_bytes\[1\] must be no object"),
        ({"instances": [{"image_bytes": A}, A]}, FILES, r"image_bytes\[1\] must be like"),
        ({"instances": [{"image_bytes": A, "more": 1}]}, FILES, r"image_bytes\[0\] must be like"),
        ({"instances": [{"b64": "YQ==", "more": 1}]}, FILES, r"image_bytes\[0\] must be like"),
        ({"instances": [[A]]}, FILES, r"image_bytes\[0\] must be like"),
        ({"inputs": A}, FILES, "image_bytes must be a list"),
        ({"inputs": {"image": [A]}}, FILES, "`inputs` must have image_bytes"),
        ({"inputs": {}}, FILES, "`inputs` must have image_bytes"),
        ({"inputs": None}, FILES, "image_bytes must be a list"),
        (b'{"inputs": [[[[1, 2, 7.0]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, 7e0]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, NaN]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, Infinity]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, true]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, null]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, "3"]]]]}', IMAGES, "image must be whole numbers"),
        (b'{"inputs": [[[[1, 2, 4294967296]]]]}', IMAGES, "image must be from 0 to 255"),
        ({"instances": [PIXEL, [*PIXEL, *PIXEL]]}, IMAGES, "all images of one size"),
        ({"inputs": PIXEL}, IMAGES, "of the shape"),
    ],
)
def test_what_is_refused(body, to, words):
    with pytest.raises(UserError, match=words) as caught:
        read(body, to)
    assert "\n" not in str(caught.value)


def test_gzip_that_is_none(monkeypatch):
    packed = gzip.compress(json.dumps({"instances": [A]}).encode())
    for body in (b'{"instances": []}', packed[:-9], b"", np.arange(99, dtype="uint8").tobytes()):
        with pytest.raises(UserError, match="packed by gzip"):
            unpacked(body, "gzip")
    assert unpacked(packed, "deflate, gzip")
    monkeypatch.setattr("fcn_keras.serving.request._MAX_BODY", 20)
    with pytest.raises(UserError, match="has more than 100 MB"):
        unpacked(packed, "gzip")
