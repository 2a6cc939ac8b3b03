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
        layers = {layer.name: layer for layer in network.layers}
        self.blocks = []
        before = network.inputs
        for name in BLOCKS:
            # A network with two trunks has two of each.
            ends = [layers[name + trunk] for trunk in TRUNKS if name + trunk in layers]
            if ends:
                outputs = [layer.output for layer in ends]
                self.blocks.append(keras.Function(before, outputs))
                # The image's size is asked for to the end.
                before = [*network.inputs, *outputs]
        self.rest = keras.Function(before, network.output)

    def __call__(self, images):
        """Returns what the network returns for images `(N, H, W, 3)`.

        Whether its layers train is what a layer around this call says.
        """
        # TensorFlow asks for the gradient of all that it computes anew, and integers have none.
        images = tf.cast(images, "float32")
        values = []
        for block in self.blocks:
            values = tf.nest.flatten(_recomputed(block)(images, *values))
        return self.rest([images, *values])


def _recomputed(block):
    return tf.recompute_grad(lambda *values: block([*values]))
