"""The colours of labels."""

from collections.abc import Sequence

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL


def voc_palette(count: int = 256) -> np.ndarray:
    """The label colours of PASCAL VOC.

    Each label's bits are dealt in turn to red, green and blue, the highest colour bit first,
    so that neighbouring labels look far apart.

    Example:

    >>> voc_palette(3).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0]]

    Args:
        count: how many colours, at most 256.

    Returns:
        uint8 array `(count, 3)`, one RGB colour per label.
    """
    labels = np.arange(count)
    palette = np.zeros((count, 3), np.uint8)
    for i in range(8):
        for channel in range(3):
            palette[:, channel] |= ((labels >> channel & 1) << (7 - i)).astype(np.uint8)
        labels >>= 3
    return palette


def palette_for(colors: Sequence[Sequence[int]]) -> np.ndarray:
    """A full palette that starts with the given class colours.

    Labels without a colour of their own keep VOC's, so that a stray label is still visible.
    Void (255) is `(224, 224, 192)`, as in VOC.

    Example:

    >>> palette_for([(128, 64, 128), (70, 70, 70)])[1].tolist()
    [70, 70, 70]

    Args:
        colors: an RGB triple of 0..255 for each class, at most 255.

    Returns:
        uint8 array `(256, 3)`.
    """
    palette = voc_palette()
    if len(colors) == 0:
        return palette
    triples = np.asarray(colors)
    if triples.ndim != 2 or triples.shape[1] != 3 or len(triples) > IGNORE_LABEL:
        raise ValueError(
            f"Expected at most {IGNORE_LABEL} RGB colours, got an array of {triples.shape}"
        )
    if triples.dtype.kind not in "iu" or triples.min() < 0 or triples.max() > 255:
        raise ValueError("Class colours are integers in 0..255")
    palette[: len(triples)] = triples
    return palette
