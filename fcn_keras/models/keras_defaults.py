"""Keras as it is where no `keras.json` says otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Builds what is made within it `channels_last` and in float32, whatever `keras.json` says.

    Another project may have left a file there, which counts for all that a user runs. Layers keep
    what they were built with. A precision policy that was set on purpose counts; one that only
    repeats the file's `floatx` does not. It is a decorator, too.

    Example:

    >>> with keras_defaults():
    ...     layer = keras.layers.Conv2D(21, 1)
    >>> layer.data_format
    'channels_last'
    """
    layout, floatx = keras.config.image_data_format(), keras.config.floatx()
    policy = keras.config.dtype_policy()
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    if policy.name == floatx:
        keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_image_data_format(layout)
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
