"""Networks made of trained ones: heatmap networks of classifiers, and networks of more classes.

A dense layer that reads a flattened feature map of `(h, w, c)` is a convolution with an
`(h, w)` kernel that happens to fit once. Written as a convolution it slides over larger maps
(section 3.1 of arXiv 1411.4038), and its weights need no change but their shape."""

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.bilinear import Bilinear
from fcn_keras.models.head import is_of_head
from fcn_keras.models.keras_defaults import keras_defaults
from fcn_keras.models.weights.copying import copy_matching


def dense_to_conv(kernel: np.ndarray, height: int = 1, width: int = 1) -> np.ndarray:
    """Reshapes the kernel of a dense layer into that of the equal convolution.

    Keras flattens rows, then columns, then channels, so a plain reshape is right.

    Args:
        kernel: `(height * width * channels, units)`.
        height, width: the size of the map that the dense layer reads.

    Returns:
        An array of shape `(height, width, channels, units)`.
    """
    inputs, units = kernel.shape
    if inputs % (height * width):
        raise ValueError(
            f"A dense kernel with {inputs} inputs cannot read a map of {height}x{width} cells."
        )
    return np.reshape(kernel, (height, width, inputs // (height * width), units))


@keras_defaults()
def convolutionalize(classifier: keras.Model, name: str | None = None) -> keras.Model:
    """Makes a fully convolutional network of a classifier, for images of any size.

    The layers up to the classifier's last feature map are shared with it, not copied. Behind
    them `Flatten` + `Dense` becomes a convolution as large as that map, every further `Dense` a
    1x1 convolution; `GlobalAveragePooling2D` becomes an average over windows of that size. A
    softmax or sigmoid at the end is left out. What else may stand in the head (dropout,
    activations, 1x1 convolutions, batch normalisation over channels) works on each place as it is.

    On an image of the classifier's own size the result is one cell, equal to the classifier's
    logits; on a larger one, a cell for every position of the window on the last feature map.

    Args:
        classifier: a functional model, or a sequence of layers, with one input `(N, H, W, C)` of
            fixed size and one output, such as those of `keras.applications` with
            `include_top=True`.
        name: name of the new model; `<classifier>_heatmap` if not given.

    Returns:
        A functional `keras.Model`: `(N, H, W, C)` in with free H and W, logits
        `(N, H', W', classes)` out. Dense layers keep their names.

    Raises:
        ValueError: if the model has no such head.

    Example:

    >>> heatmap = convolutionalize(keras.applications.VGG16(weights=None))
    >>> heatmap(np.zeros((1, 288, 320, 3))).shape
    TensorShape([1, 3, 4, 1000])

    Reference:
        Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
        section 3.1.
    """
    if isinstance(classifier, keras.Sequential):
        if not classifier.built:
            raise UserError(
                "`classifier` must know the size of its images: begin it with "
                f"`keras.Input((H, W, C))`. Received: {classifier.name}, which is not built."
            )
        [image], [scores] = classifier.inputs, classifier.outputs
        classifier = keras.Model(image, scores, name=classifier.name)
    head = _head_of(classifier)
    feature_map = head[0].input
    _, height, width, _ = feature_map.shape
    if height is None or width is None:
        raise ValueError(
            "`classifier` must have an input of fixed size, which tells how large a window "
            f"its head reads. Received: input shape {classifier.input_shape}."
        )
    image = keras.Input((None, None, classifier.input_shape[-1]), name="image")
    x = keras.models.clone_model(
        keras.Model(classifier.input, feature_map),
        input_tensors=image,
        clone_function=lambda layer: layer,
    ).output
    window = (height, width)
    for layer in head:
        probability = layer is head[-1] and _gives_probabilities(layer)
        if isinstance(layer, layers.Flatten | layers.Reshape) or (
            probability and isinstance(layer, layers.Softmax | layers.Activation)
        ):
            continue
        if isinstance(layer, layers.GlobalAveragePooling2D):
            x = layers.AveragePooling2D(window, strides=1, name=layer.name)(x)
            window = (1, 1)
        elif isinstance(layer, layers.Dense):
            conv = layers.Conv2D(
                layer.units,
                window,
                use_bias=layer.use_bias,
                activation=None if probability else layer.activation,
                dtype=layer.dtype_policy,
                name=layer.name,
            )
            x = conv(x)
            kernel, *bias = layer.get_weights()
            conv.set_weights([dense_to_conv(kernel, *window), *bias])
            window = (1, 1)
        elif probability:  # a convolution
            raise ValueError(
                f"`classifier` must end in Dense layers, or have its {layer.activation.__name__} "
                f"in a layer of its own. Received: {classifier.name}, ending in {layer.name}."
            )
        elif isinstance(layer, layers.BatchNormalization):
            # Its axis is counted on vectors; on maps the channels come last.
            norm = layers.BatchNormalization.from_config({**layer.get_config(), "axis": -1})
            x = norm(x)
            norm.set_weights(layer.get_weights())
        else:
            x = layer(x)
    return keras.Model(image, x, name=name or f"{classifier.name}_heatmap")


def _head_of(classifier):
    """The chain of layers from the last map to the output."""
    for start, layer in enumerate(classifier.layers):
        head = classifier.layers[start:]
        if (
            isinstance(layer, layers.Flatten | layers.GlobalAveragePooling2D)
            and any(isinstance(layer, layers.Dense | layers.Conv2D) for layer in head)
            # A gate for channels is no head: its result is joined with the map that it was made of.
            and not any(isinstance(layer.input, list) for layer in head)
            and all(_is_of_vectors(layer) for layer in head)
        ):
            return head
    raise ValueError(
        "`classifier` must end in Flatten or GlobalAveragePooling2D and Dense layers or 1x1 "
        "convolutions (build it with `include_top=True`). "
        f"Received: {classifier.name}, ending in {type(classifier.layers[-1]).__name__}."
    )


def _is_of_vectors(layer):
    """Whether a layer makes numbers about one place, and would do so at each of several."""
    if isinstance(layer, layers.Conv2D) and layer.kernel_size != (1, 1):
        return False
    return all(side == 1 for side in layer.output.shape[1:-1])


def _gives_probabilities(layer):
    return isinstance(layer, layers.Softmax) or getattr(layer, "activation", None) in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    )


@keras_defaults()
def expand_classes(model: keras.Model, num_classes: int, name: str | None = None) -> keras.Model:
    """Makes a network of a trained one that tells more classes apart.

    The old classes come first and keep their weights to the last bit, and so their scores; the
    new ones start with scores of zero, or nearly so where upsampling is nonlinear. Layers are
    copied, so the old network stays as it is.

    Args:
        model: a network of this package with one head.
        num_classes: how many classes the new one has; not fewer than the old one.
        name: name of the new model; the old one's if not given.

    Returns:
        A functional `keras.Model`: `(N, H, W, 3)` to logits `(N, H, W, num_classes)`.

    Raises:
        UserError: if the network has more classes, or no layers that score them.

    Example:

    >>> model = expand_classes(FCN8s(num_classes=21), num_classes=25)
    >>> model.output_shape
    (None, None, None, 25)
    """
    grow = {
        layer.name
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose) and is_of_head(layer)
    }
    if not grow or isinstance(model.output_shape, list):
        raise UserError(f"{model.name}: must be a network of this package with one head.")
    if num_classes < model.output_shape[-1]:
        raise UserError(
            f"`num_classes` must be at least the {model.output_shape[-1]} that {model.name} has. "
            f"Received: {num_classes}."
        )

    def cloned(layer):
        config = layer.get_config()
        if layer.name in grow:
            # Two for each class within a nonlinear upsampling.
            config["filters"] = layer.filters // model.output_shape[-1] * num_classes
        return type(layer).from_config(config)

    new = keras.models.clone_model(model, clone_function=cloned)
    old = {layer.name: layer for layer in model.layers}
    for grown in copy_matching(old, new):
        _fill_corner(old[grown], new.get_layer(grown), num_classes)
    return keras.Model(new.input, new.output, name=name or model.name)


def _fill_corner(old, new, classes):
    """Puts the weights of a layer into one for more classes, before what is new in it."""
    weights = [np.array(weight) for weight in new.get_weights()]
    if isinstance(new, layers.Conv2DTranspose):
        # New classes are upsampled bilinearly, and touch no old one.
        weights[0] = np.array(Bilinear(classes)(new.kernel.shape))
    for weight, values in zip(weights, old.get_weights(), strict=True):
        weight[tuple(map(slice, values.shape))] = values
    new.set_weights(weights)
