"""Activations computed twice, where keeping them for the gradient takes the most memory."""

import keras
import tensorflow as tf

# The first blocks work at the finest resolutions: their maps are most of what a step keeps.
BLOCKS = ("pool1", "pool2", "pool3")

TRUNKS = ("", "color", "hha")


class Recomputed:
    """Calls a network so that its gradient keeps only what its first blocks end with.

    What lies inside these blocks is computed again on the way back, block by block. The numbers
    are the same; a step takes longer by the forward pass of these blocks.

    Args:
        network: a network of this package.

    Reference:
        Chen et al.: Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """

    def __init__(self, network: keras.Model):
        outputs = {}

        def call(layer, *args, **kwargs):
            outputs[layer.name] = layer(*args, **kwargs)
            return outputs[layer.name]

        # The same layers on an input of their own: a graph that is cut in pieces is not saved.
        twin = keras.models.clone_model(
            network, clone_function=lambda layer: layer, call_function=call
        )
        self.blocks = []
        before = twin.inputs
        for block in BLOCKS:
            # A network with two trunks has two of each.
            after = [outputs[block + trunk] for trunk in TRUNKS if block + trunk in outputs]
            if after:
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
