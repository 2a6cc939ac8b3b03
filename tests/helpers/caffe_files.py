"""Writes `.caffemodel` files, for tests: Caffe's field numbers and the wire format by hand.

It shares nothing with the package's reader, and streams arrays, so that large files are fast.
"""

import numpy as np

# V1LayerParameter.LayerType, and the names of layer types in Caffe's first releases.
V1_TYPES = {
    "Convolution": 4,
    "Data": 5,
    "Dropout": 6,
    "InnerProduct": 14,
    "LRN": 15,
    "Pooling": 17,
    "ReLU": 18,
    "Softmax": 20,
    "Split": 22,
    "Eltwise": 25,
    "Deconvolution": 39,
}
V0_TYPES = {
    "Convolution": "conv",
    "Data": "data",
    "Dropout": "dropout",
    "InnerProduct": "innerproduct",
    "LRN": "lrn",
    "Pooling": "pool",
    "ReLU": "relu",
    "Softmax": "softmax",
    "Split": "split",
}


def write_caffemodel(path, layers, form="new", packed=True, legacy=None):
    """Writes a network's weights as Caffe does.

    Args:
        path: the file to write.
        layers: layer name -> (type such as "Convolution", list of arrays), in order.
        form: "new" for `layer` messages, "v1" for `layers`, "v0" for those of Caffe's first
            releases. Types that a form does not know raise KeyError.
        packed: whether numbers stand in one block or in a field each.
        legacy: whether shapes are num, channels, height and width in place of a list; by
            default as in the form's time. Shapes of fewer axes are padded with 1 in front.

    Returns:
        The path.
    """
    legacy = form != "new" if legacy is None else legacy
    chunks = _text(1, "net")
    for name, (kind, arrays) in layers.items():
        blobs = [_blob(array, packed, legacy) for array in arrays]
        ends = _text(3, f"{name}_in") + _text(4, f"{name}_out")
        if form == "new":
            chunks += _message(100, _text(1, name) + _text(2, kind) + ends, 7, blobs)
        elif form == "v1":
            ends = _text(2, f"{name}_in") + _text(3, f"{name}_out")
            about = ends + _text(4, name) + _number(5, V1_TYPES[kind])
            chunks += _message(2, about, 6, blobs)
        elif form == "v0":
            inner = _message(1, _text(1, name) + _text(2, V0_TYPES[kind]), 50, blobs)
            chunks += _message(2, inner + _text(2, f"{name}_in") + _text(3, f"{name}_out"))
        else:
            raise ValueError(form)
    with open(path, "wb") as file:
        file.writelines(chunks)
    return path


def _blob(array, packed, legacy):
    array = np.ascontiguousarray(array, "<f4")
    if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        chunks = [chunk for i, dim in enumerate(shape, 1) for chunk in _number(i, dim)]
    else:
        dims = b"".join(_varint(dim) for dim in array.shape)
        chunks = _message(7, _message(1, [dims]))
    if packed:
        return chunks + _message(5, [array.reshape(-1).view("u1").data])
    fields = np.empty(array.size, [("tag", "u1"), ("number", "<f4")])
    fields["tag"] = 5 << 3 | 5
    fields["number"] = array.reshape(-1)
    return chunks + [fields.tobytes()]


def _message(field, chunks, each_field=None, each=()):
    """A message, with further ones inside."""
    chunks = list(chunks)
    for inner in each:
        chunks += _message(each_field, inner)
    return [_varint(field << 3 | 2), _varint(sum(map(len, chunks))), *chunks]


def _text(field, text):
    return _message(field, [text.encode()])


def _number(field, number):
    return [_varint(field << 3), _varint(number)]


def _varint(number):
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
