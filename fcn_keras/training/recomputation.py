"""Activations computed twice, where keeping them for the gradient takes the most memory."""

import keras
import tensorflow as tf

from fcn_keras.models.sights import calls_of, sights_of

# The first layers work at the finest resolutions: their maps are most of what a step keeps.
STRIDES = (2, 4, 8)


class Recomputed:
    """Calls a network so that its gradient keeps little of what its first layers make.

    The network is cut at the narrowest map of each of `STRIDES`, of those that all that follows is
    made of. What lies between two cuts is computed again on the way back, piece by piece. The
    numbers are the same; a step takes longer by the forward pass of these pieces.

    Args:
        network: a network of this package.

    Reference:
        Chen et al.: Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """

    def __init__(self, network: keras.Model):
        # The same layers on an input of their own: a graph that is cut in pieces is not saved.
        twin = keras.models.clone_model(network, clone_function=lambda layer: layer)
        self.blocks = []
        before = twin.inputs
        for after in _cuts(twin):
            self.blocks.append(keras.Model(before, after))
            # The image's size is asked for to the end.
            before = [*twin.inputs, *after]
        self.rest = keras.Model(before, twin.output)

    def __call__(self, images: tf.Tensor, training: bool | None = None):
        """Returns what the network returns for images `(N, H, W, 3)`."""
        # TensorFlow asks for the gradient of all that it computes anew, and integers have none.
        images = tf.cast(images, "float32")
        values: list[tf.Tensor] = []
        for block in self.blocks:
            values = tf.nest.flatten(_recomputed(block, training)(images, *values))
        return self.rest([images, *values], training=training)


def _recomputed(block, training):
    return tf.recompute_grad(lambda *values: block([*values], training=training))


def _cuts(network):
    """The tensors at each cut; a network with two trunks has two of each."""
    calls, sights = list(calls_of(network)), sights_of(network)
    last_use = {id(x): number for number, call in enumerate(calls) for x in call.input_tensors}
    last_use |= {id(x): len(calls) for x in network.outputs}
    trunks = sum(layer.name.startswith("normalize") for layer in network.layers)
    found: dict[int, list[list[keras.KerasTensor]]] = {stride: [] for stride in STRIDES}
    needed: list[keras.KerasTensor] = []
    for number, call in enumerate(calls):
        if _draws(call.operation):
            break  # the second time it would draw other numbers
        needed = [x for x in (*needed, *call.output_tensors) if last_use.get(id(x), 0) > number]
        strides = {sights[id(x)].rows.stride if id(x) in sights else 0 for x in needed}
        if len(needed) == trunks and len(strides) == 1 and {*STRIDES} >= strides:
            found[int(strides.pop())].append(needed)
    return [
        min(cuts, key=lambda tensors: sum(x.shape[-1] for x in tensors))
        for cuts in found.values()
        if cuts
    ]


def _draws(operation):
    """Whether a layer draws random numbers in training."""
    drawn = getattr(operation, "_seed_generators", ())
    return bool(drawn) or type(operation).__name__ == "StochasticDepth"
