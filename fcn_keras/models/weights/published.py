"""Trained weights of other frameworks, as NumPy arrays by layer name.

Every reader gives Caffe's names, layout and order: the reference networks were trained in
Caffe, and the ports to PyTorch and Chainer kept all three.
"""

from pathlib import Path

import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.models.weights import caffemodel, npz_file, torch_file

SUFFIXES = (".caffemodel", ".pth", ".pt", ".pth.tar", ".npz")


def is_foreign(path: str | Path) -> bool:
    """Whether a file has the name of one that `read_weights` reads."""
    return Path(path).name.lower().endswith(SUFFIXES)


def read_weights(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads the weights of a file of another framework.

    Args:
        path: a file of one of these kinds:
            - `.caffemodel`: of any version of Caffe.
            - `.pth`, `.pt`, `.pth.tar`: a state dict of wkentaro/pytorch-fcn, or a checkpoint
              of its training. Needs PyTorch.
            - `.npz`: of Chainer, as wkentaro/fcn publishes them.

    Returns:
        Layer name -> float32 arrays in Caffe's layout: first the weight, `(O, I, kh, kw)` of a
        convolution and `(I, O, kh, kw)` of a transposed one, then the bias if there is one.
        Layers without weights are left out. The arrays may be views of the file, which must
        not be changed while they are in use; do not write to them.

    Raises:
        UserError: if the file is none of these, or damaged; names it.

    Example:

    >>> blobs = read_weights("fcn8s-heavy-pascal.caffemodel")
    >>> [blob.shape for blob in blobs["score_fr"]]
    [(21, 4096, 1, 1), (21,)]
    """
    path = Path(path)
    if not is_foreign(path):
        raise UserError(f"{path}: weights of other frameworks end in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise UserError(f"{path}: is no file. Check the path.")
    if path.name.lower().endswith(".caffemodel"):
        return caffemodel.read(path)
    if path.name.lower().endswith(".npz"):
        return _by_layer(path, npz_file.read(path), "/W", "/b")
    return _by_layer(path, torch_file.read(path), ".weight", ".bias")


def _by_layer(path, arrays, weight, bias):
    """Groups arrays by the layer in their names, the weight before the bias."""
    blobs = {
        key.removesuffix(weight): [array] for key, array in arrays.items() if key.endswith(weight)
    }
    for key, array in arrays.items():
        layer = key.removesuffix(bias)
        if layer != key and layer in blobs:
            blobs[layer].append(array)
        elif not key.endswith(weight):
            raise UserError(
                f"{path}: holds another network than FCN: its arrays must be named LAYER{weight}, "
                f"or LAYER{bias} beside that. Received: {key!r}."
            )
    if not blobs:
        raise UserError(f"{path}: holds no weights.")
    return blobs
