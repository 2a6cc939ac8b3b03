"""Keras networks as what labels images: at once, in parts, averaged over views."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from fcn_keras.cpu.class_ids import parts_of
from fcn_keras.cpu.products import is_bilinear, on_this_machine
from fcn_keras.data.files.large import Bands
from fcn_keras.errors import UserError
from fcn_keras.inference.network import Network
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.inference.tiling import Tiling
from fcn_keras.models.channels import image_spec


class KerasSegmenter(Segmenter):
    """A Keras network as what labels images.

    Args:
        network: a network that was opened.
        name: what it is called.
        tile, scales, flip: see `make_segmenter`.

    Raises:
        UserError: if an argument is out of its range.

    Example:

    >>> segmenter = KerasSegmenter(load_network("runs/roads"), "roads")
    >>> segmenter.segment(images).shape == images.shape[:3]
    True
    """

    def __init__(
        self,
        network: Network,
        name: str,
        tile: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ):
        super().__init__(name, network.classes, network.colors)
        self.images = network.images
        self.network = network
        self._segment = make_segmenter(network.model, tile, scales, flip)
        self.by_parts = isinstance(self._segment, InParts)
        # Traced only if it is asked for.
        self._score = make_segmenter(network.model, tile, scales, flip, probabilities=True)
        if tile:
            # Parts are looked at one by one: there is nothing to put together.
            self.batch_size = 1
            # Meant for pictures that go beyond what Pillow takes for an attack.
            Image.MAX_IMAGE_PIXELS = None

    def segment(self, images: np.ndarray) -> np.ndarray:
        return self._computed(self._segment, images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self._computed(self._score, images)

    def label_parts(
        self,
        image: Bands,
        class_ids: np.ndarray,
        choose: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        parts: Any = self._score if choose else self._segment

        def of_window(window):
            found = np.asarray(parts.function(window))
            return choose(found) if choose else found

        with _memory_errors():
            parts.tiling.map(of_window, image, class_ids)

    def _computed(self, function, images):
        with _memory_errors():
            return np.asarray(function(self.checked(images)))


@contextmanager
def _memory_errors():
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(str(error)) from error


def make_segmenter(
    model: keras.Model,
    tile: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    probabilities: bool = False,
    fixed: bool = True,
) -> Callable[[np.ndarray], tf.Tensor | np.ndarray]:
    """Makes a function from images to class ids of a network, or to their probabilities.

    Args:
        model: `(N, H, W, 3)` to logits `(N, H, W, C)`.
        tile: look at so many pixels of an image at a time, each way, see
            `fcn_keras.inference.tiling`; the result is that of the whole.
        scales: factors on an image's size. The probabilities found at each are brought back to
            its own size, and averaged.
        flip: whether to average over the mirrored image too.
        probabilities: whether to return those of all classes instead of class ids.
        fixed: whether layers that do not learn now will never do: then those that interpolate
            bilinearly do so whatever weights they are given later.

    Returns:
        A function: uint8 `(N, H, W, 3)`, RGB, or what else the network takes (see
        `fcn_keras.models.channels.stored_pixels`), to uint8 `(N, H, W)`, or float32 `(N, H, W, C)`.
        Its graph is traced once, for images of any size. Without averaging it can be called within
        a graph, too.

    Raises:
        UserError: if an argument is out of its range.

    Example:

    >>> segment = make_segmenter(keras.models.load_model("best.keras"))
    >>> segment(image[None])[0].shape == image.shape[:2]
    True
    """
    scales = tuple(scales)
    if not scales or not all(0 < scale <= 16 for scale in scales):
        raise UserError(f"`scales` must be numbers above 0, and up to 16. Received: {scales}.")

    learns = any(layer.trainable and is_bilinear(layer) for layer in model.layers)
    computed = on_this_machine(model, fixed=fixed and not learns)
    (*_, channels), dtype = image_spec(model)
    parts = parts_of(computed, on_gpu=bool(tf.config.list_logical_devices("GPU")))

    def class_ids(image):
        return parts.label(*parts.before(image))

    def softmax(image):
        return tf.nn.softmax(tf.cast(computed(image, training=False), tf.float32))

    averaged = scales != (1,) or flip
    scored = averaged or probabilities
    function = tf.function(
        softmax if scored else class_ids,
        input_signature=[
            tf.TensorSpec(
                (None, None, None, channels),
                tf.float32 if averaged else tf.as_dtype(dtype),
                name="image",
            )
        ],
        autograph=False,
    )
    if tile is not None:
        function = InParts(function, Tiling(model, tile), scored and model.output_shape[-1])
    if not averaged:
        return function
    averages = _averaged(function, scales, flip)
    if probabilities:
        return averages
    return lambda images: tf.cast(tf.argmax(averages(images), axis=-1), tf.uint8)


class InParts:
    """A function of images that looks at them in parts.

    Args:
        function: from `(1, h, w, 3)` to class ids `(1, h, w)`, or probabilities `(1, h, w, C)`.
        tiling: how they are cut.
        channels: C; 0 for class ids.
    """

    def __init__(self, function: Callable[[Any], Any], tiling: Tiling, channels: int):
        self.function, self.tiling, self.channels = function, tiling, channels

    def __call__(self, images: Any) -> np.ndarray:
        images = np.asarray(images)
        shape = (*images.shape[:3], self.channels) if self.channels else images.shape[:3]
        outputs = np.empty(shape, "float32" if self.channels else "uint8")
        for image, output in zip(images, outputs, strict=True):
            self.tiling.map(self.function, image, output)
        return outputs


def _averaged(probabilities, scales, flip):
    def mean_over_views(images):
        images = tf.cast(images, tf.float32)
        size = tf.shape(images)[1:3].numpy()
        total = 0.0
        for scale in scales:
            # Half a pixel counts as one; a small image keeps a pixel.
            scaled = np.maximum(np.floor(size * scale + 0.5), 1).astype(int)
            view = tf.image.resize(images, scaled, antialias=True)
            seen = tf.convert_to_tensor(probabilities(view))
            if flip:
                mirrored = tf.convert_to_tensor(probabilities(tf.reverse(view, [2])))
                seen = (seen + tf.reverse(mirrored, [2])) / 2
            total += tf.image.resize(seen, size, antialias=True)
        return total / len(scales)

    return mean_over_views
