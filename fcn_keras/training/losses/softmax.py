"""The softmax of every pixel in pieces, which several losses of one step share.

Of few classes TensorFlow's own `sparse_softmax_cross_entropy_with_logits` takes several times as
long on CPUs as these plain operations do; and what two losses compute alike, a compiled graph
computes once.
"""

from typing import Any, NamedTuple

from keras import ops


class Softmax(NamedTuple):
    """The softmax of logits `(N, H, W, C)`.

    Attributes:
        moved: the logits, less the largest one of the pixel.
        exponentials: of these; the probabilities, times `total`.
        total: their sum, `(N, H, W, 1)`.
    """

    moved: Any
    exponentials: Any
    total: Any

    @property
    def probabilities(self) -> Any:
        """Of every class, `(N, H, W, C)`."""
        return self.exponentials / self.total


def softmax_of(logits: Any) -> Softmax:
    """Returns the softmax of logits `(N, H, W, C)` of any float type, in float32."""
    logits = ops.cast(logits, "float32")
    # What is taken off changes nothing, so it has no gradient.
    moved = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    exponentials = ops.exp(moved)
    return Softmax(moved, exponentials, ops.sum(exponentials, axis=-1, keepdims=True))


def hot(labels: Any, logits: Any) -> Any:
    """Returns 1 at the class of each pixel and 0 at the others, float32 `(N, H, W, C)`."""
    return ops.one_hot(labels, logits.shape[-1], dtype="float32")
