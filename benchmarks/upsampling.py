"""Upsampling by a transposed convolution and by interpolation: `python benchmarks/upsampling.py`.

A bilinear kernel joins each class to itself alone. The convolution multiplies all pairs of classes.
"""

import numpy as np
from in_turns import in_turns

from fcn_keras.system.processor import use_onednn

# Classes, stride and rows of scores, of which an image of 500x500 has so many.
LAYERS = {
    "upscore8, 21 classes": (21, 8, 71),
    "upscore8, 59 classes": (59, 8, 71),
    "upscore, 21 classes": (21, 32, 16),
}
ROUNDS = 15


def main():
    use_onednn()  # before TensorFlow is imported
    import keras
    import tensorflow as tf

    from fcn_keras.models.bilinear import Bilinear, interpolate

    print(f"{'':24}{'convolution':>14}{'interpolation':>15}{'ratio':>8}")
    for name, (classes, stride, rows) in LAYERS.items():
        layer = keras.layers.Conv2DTranspose(
            classes, 2 * stride, strides=stride, use_bias=False, kernel_initializer=Bilinear()
        )
        scores = np.random.default_rng(0).normal(size=(1, rows, rows, classes))
        scores = tf.constant(scores, tf.float32)
        layer.build(scores.shape)
        compiled = [
            tf.function(layer),
            tf.function(lambda x, stride=stride: interpolate(x, stride, 2 * stride)),
        ]
        functions = [lambda f=function, x=scores: f(x).numpy() for function in compiled]
        (one, _), (other, ratio) = in_turns(functions, ROUNDS)
        print(f"{name:24}{1e3 * one:11.1f} ms{1e3 * other:12.1f} ms{ratio:8.2f}")


if __name__ == "__main__":
    main()
