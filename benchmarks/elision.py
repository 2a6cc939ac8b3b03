"""The trunk of FCN-8s with all of the paper's padding and without: `python benchmarks/elision.py`.

From the image to pool5, in Keras' layers and in those of an export.
"""

import numpy as np
from in_turns import in_turns

from fcn_keras.system.processor import use_onednn

SIZES = (224, 500)
ROUNDS = 9


def main():
    use_onednn()  # before TensorFlow is imported
    import keras
    import tensorflow as tf

    from fcn_keras import build
    from fcn_keras.cpu.products import with_own_products

    def trunks(elide_padding):
        network = build("fcn8s", 21, weights=None, elide_padding=elide_padding)
        [pool5] = [layer for layer in network.layers if layer.name.startswith("pool5")]
        trunk = keras.Model(network.input, pool5.output)
        return [compiled(trunk), compiled(with_own_products(trunk))]

    def compiled(trunk):
        return tf.function(lambda images: trunk(images, training=False))

    def labels(function, images):
        return lambda: function(images).numpy()

    elided, padded = trunks(True), trunks(False)
    print(f"{'':20}{'elided':>10}{'padded':>10}{'ratio':>8}")
    for size in SIZES:
        images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), "uint8")
        images = tf.constant(images)
        for name, *pair in zip(("layers", "export"), elided, padded, strict=True):
            (one, _), (other, ratio) = in_turns([labels(each, images) for each in pair], ROUNDS)
            print(f"{f'{size}x{size}, {name}':20}{one:8.2f} s{other:8.2f} s{ratio:8.2f}")


if __name__ == "__main__":
    main()
