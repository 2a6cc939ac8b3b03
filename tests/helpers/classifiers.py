"""Small classifiers as Keras' are, and where the cells of a map look, found by probing."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def classifier_of(size, *steps, **options):
    """A functional model of layers, each on what the one before makes; functions are called."""
    x = image = keras.Input((size, size, 3) if isinstance(size, int) or size is None else size)
    for step in steps:
        x = step(x)
    return keras.Model(image, x, **options)


def conv(kernel=3, strides=1, padding="same", channels=4, **options):
    return layers.Conv2D(channels, kernel, strides, padding, **({"activation": "relu"} | options))


def tiny(weights=None, include_top=True, alpha=1.0, input_shape=None, size=64, name="tiny"):
    """A classifier with the arguments of those in `keras.applications`, and a residual block."""
    x = image = keras.Input(input_shape or (size, size, 3))
    for number in range(5):
        channels = round(alpha * 4 * (number + 1))
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"pad{number}")(x)
        x = layers.Conv2D(channels, 3, 2, "valid", use_bias=False, name=f"stem{number}")(x)
        x = layers.BatchNormalization(name=f"bn{number}")(x)
        x = layers.ReLU(6.0)(x)
        y = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise{number}")(x)
        x = layers.Add()([x, y])
    if include_top:
        x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dropout(0.2)(x)
        x = layers.Dense(10, "softmax", name="predictions")(x)
    model = keras.Model(image, x, name=name)
    if weights is not None:
        model.load_weights(weights)
    return model


def scatter(model, seed=0):
    """Gives every weight another random number, statistics of batches included."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        kernel = "kernel" in weight.path
        size = np.prod(weight.shape[:-1]) ** -0.5 if kernel else 0.2
        weight.assign(rng.normal(0, size, weight.shape) + (0 if kernel else 1))
    return model


def make_positive(model, seed=0):
    """Gives a classifier weights with which no cell that sees a pixel is blind to it.

    Kernels are positive and pass on the mean of what they see; what looks at the whole image
    (squeeze and excitation) is cut off. Where a layer subtracts the mean over the channels, of
    which little but zero would be left, kernels have both signs.
    """
    rng = np.random.default_rng(seed)
    signed = any(isinstance(layer, layers.LayerNormalization) for layer in model.layers)
    for weight in model.weights:
        path, shape = weight.path, weight.shape
        if "kernel" in path:
            kernel = rng.uniform(0.5, 1.5, shape)
            depthwise = "depthwise" in path.split("/")[-1] or shape[-1] == 1
            axes = tuple(range(2 if depthwise and len(shape) == 4 else len(shape) - 1))
            kernel /= kernel.sum(axes, keepdims=True)
            if signed:
                kernel = rng.normal(0, np.prod([shape[axis] for axis in axes]) ** -0.5, shape)
            weight.assign(kernel * (not is_squeezing(path)))
        elif path.endswith(("bias", "beta", "moving_mean")):
            weight.assign(np.zeros(shape))
        elif path.endswith(("gamma", "moving_variance")) or "layer_scale" in path:
            weight.assign(np.ones(shape))
    return model


def is_squeezing(path):
    return "se_expand" in path or "squeeze_excite_conv_1" in path


def seen(compute, image, cell, axis=0):
    """The first and the last row (or column) of an image that decide what is in a cell of a map.

    Of a maximum the larger number alone decides: so where there is one the image is to rise towards
    the end that is asked for, and is looked at both ways.

    Args:
        compute: the network that makes the map `(1, H', W', C)` of the image.
        image: the least and the largest number in the image, and its size.
        cell: which row of the map, or column.
        axis: 0 for rows, 1 for columns.
    """
    low, high, size, dtype = image
    ends = []
    has_maximum = any(isinstance(layer, layers.MaxPooling2D) for layer in compute.layers)
    for rising in (False, True) if has_maximum else (True,):
        ramp = np.linspace(low, high, size[axis])[:: 1 if rising else -1]
        ramp = ramp[:, None] if axis == 0 else ramp[None]
        x = tf.constant(np.broadcast_to(ramp[None, ..., None], (1, *size, 3)), dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            cells = tf.gather(compute(x), cell, axis=1 + axis)
            middle = tf.reduce_sum(cells[:, cells.shape[1] // 2])
        gradient = np.abs(tape.gradient(middle, x)).max(axis=(0, 2 - axis, 3))
        ends.append(np.flatnonzero(gradient)[[0, -1]])
    return int(ends[0][0]), int(ends[-1][1])


def place_in(network, names):
    """A network's heads by themselves: its maps are given, in place of computed.

    Returns:
        A model of the image and the maps that layers of these names score.
    """
    maps = [network.get_layer(name).input for name in names]
    return keras.Model([network.input, *maps], network.output), keras.Model(network.input, maps)


def coordinates_behind(network, grids):
    """What heads make of maps that hold the place which each of their cells looks at.

    Args:
        network: of two classes.
        grids: stride and shift of each map, by the name of the layer that scores it.

    Returns:
        A function of an image's size. It returns the scores `(H, W, 2)`, divided by the number of
        maps; and the part of rows and of columns that lie between cells of every map.
    """
    for name in grids:
        layer = network.get_layer(name)
        kernel, bias = (np.zeros_like(weight) for weight in layer.get_weights())
        kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1
        layer.set_weights([kernel, bias])
    heads, trunk = place_in(network, list(grids))
    # In one graph, which does not have to be traced for each size.
    image = tf.TensorSpec((1, None, None, 3), tf.float32)
    sizes_of = tf.function(
        lambda x: [tf.shape(made) for made in keras.tree.flatten(trunk(x))], input_signature=[image]
    )

    def scores_of(size):
        image = np.zeros((1, *size, 3), "float32")
        sizes = [found.numpy() for found in sizes_of(image)]
        return _scores_of_places(heads, list(grids.values()), image, sizes)

    return scores_of


def _scores_of_places(heads, grids, image, sizes):
    maps, first, last = [], [0, 0], [image.shape[1] - 1, image.shape[2] - 1]
    # Where cells lie between those that they are made of, there is one step more before all that a
    # pixel is made of lies within the maps.
    margin = sum(
        stride // 2
        for (stride, shift), (_, coarse) in zip(grids[1:], grids[:-1], strict=True)
        if (shift - coarse) % stride
    )
    for (stride, shift), size in zip(grids, sizes, strict=True):
        place = np.zeros(size, "float32")
        for axis in (0, 1):
            cells = stride * np.arange(size[1 + axis]) + shift
            place[0, ..., axis] = cells[:, None] if axis == 0 else cells
            first[axis] = max(first[axis], int(np.ceil(float(cells[0] + margin))))
            last[axis] = min(last[axis], int(cells[-1] - margin))
        maps.append(place)
    scores = np.asarray(heads([image, *maps]))[0] / len(maps)
    return scores, tuple(slice(a, max(a, b + 1)) for a, b in zip(first, last, strict=True))
