"""A trunk made of a classifier of Keras': its layers up to the last map, for images of any size.

Reference:
    Section 3.1 of arXiv 1411.4038: a classifier whose dense top is left out computes a map of
    features of an image of any size.
"""

import re
from dataclasses import dataclass

import keras
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import scores
from fcn_keras.models.geometry import IMAGE, Grid, bilinear_window
from fcn_keras.models.layers import Feature, pad_to_remainder
from fcn_keras.models.tracing import SIZES, STRIDE, Place, Step, Trace, replay

# The names of what heads score, as the paper's trunk has them, and the strides of these maps.
MAPS = {"fc7": 32, "pool4": 16, "pool3": 8}

_WINDOWED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)
_PADDINGS = (layers.ZeroPadding2D, layers.Cropping2D)


class ClassifierTrunk:
    """A classifier as the trunk of a network.

    The image is padded with zeros, below and to the right, until strided layers find sizes that
    come out alike: so the maps lie where they do whatever the image's size, and no pixel is lost.

    Args:
        classifier: a functional model of one image `(N, H, W, C)`; stays as it is.
        variant: which network, see `fcn_keras.build`.
        output_stride: stride of the coarsest map, see `fcn_keras.build`.

    Attributes:
        maps: where the maps lie that heads score, on the padded image.
        padding: how many zeros there are above the image and to its left, and, to be rounded up,
            below and to the right.

    Raises:
        UserError: if the classifier has no such maps, or these cannot be laid over each other.
    """

    def __init__(self, classifier: keras.Model, variant: str, output_stride: int = STRIDE):
        trace = Trace(classifier)
        steps = _map_steps(trace, classifier.name, variant)
        self._graph = keras.Model(trace.image, [step.tensor for step in steps.values()])
        self._dilations = _dilations(trace, steps["fc7"], output_stride)
        places = [trace.map_at(step.tensor) for step in steps.values()]
        if self._dilations:
            image = keras.Input(trace.image.shape[1:])
            trace = Trace(keras.Model(image, self._copied(image)))
            places = [trace.map_at(tensor) for tensor in keras.tree.flatten(trace.output)]
        self.maps = dict(zip(steps, places, strict=True))
        side = classifier.input_shape[1]
        self.remainder = _remainder(trace, classifier.name, side and side % STRIDE)
        self.padding = _padding(self.maps, variant, self.remainder, classifier.name)

    def build(self, image: Feature) -> dict[str, Feature]:
        """Returns the maps that heads score, by the names of `MAPS`, of a preprocessed image."""
        before, more = self.padding
        padded = pad_to_remainder(image, before, more, STRIDE, self.remainder)
        return {
            name: Feature(tensor, _moved(place, before))
            for (name, place), tensor in zip(
                self.maps.items(), self._copied(padded.tensor), strict=True
            )
        }

    def _copied(self, image):
        """Computes the maps of an image by copies of the classifier's layers, with its weights."""
        copies: dict[int, tuple[keras.Operation, keras.Operation]] = {}
        names = _Names()

        def copy(operation):
            if id(operation) not in copies:
                copies[id(operation)] = operation, self._copy(operation, names)
            return copies[id(operation)][1]

        tensors = keras.tree.flatten(replay(self._graph, image, copy))
        for old, new in copies.values():
            if isinstance(new, layers.Layer) and new.weights:
                new.set_weights(old.get_weights())
        return tensors

    def _copy(self, operation, names):
        """A copy of an operation, dilated where strides are taken out."""
        if isinstance(operation, layers.Normalization):
            return _as_rescaling(operation)
        config = operation.get_config() | self._dilations.get(id(operation), {})
        return type(operation).from_config(config | {"name": names.of(operation)})


class _Names:
    """Names for copies: those that Keras numbers by what was built before are counted anew.

    So they are the same in each process, and none that another layer could get.
    """

    def __init__(self):
        self.numbers: dict[str, int] = {}

    def of(self, operation):
        automatic = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(operation).__name__)
        automatic = re.sub("([a-z])([A-Z])", r"\1_\2", automatic).lower()
        if not re.fullmatch(rf"{automatic}(_\d+)?", operation.name):
            return operation.name
        number = self.numbers.get(automatic, 0)
        self.numbers[automatic] = number + 1
        return f"backbone_{automatic}_{number}"


def _map_steps(trace: Trace, name: str, variant: str) -> dict[str, Step]:
    """Finds the last maps of each stride that all that follows is made of."""
    last = {
        int(step.place.grid.stride): step
        for step in trace.cuts()
        if step.place and not isinstance(step.layer, _PADDINGS)
    }
    wanted = {"fcn32s": ["fc7"], "fcn16s": ["fc7", "pool4"]}.get(variant, list(MAPS))
    missing = [str(MAPS[key]) for key in wanted if MAPS[key] not in last]
    if missing:
        raise UserError(
            f"`backbone` of {variant} must have maps of stride {', '.join(missing)}. Received: "
            f"{name}, which has those of stride {', '.join(map(str, sorted(last)))}."
        )
    return {key: last[MAPS[key]] for key in wanted}


def _dilations(trace: Trace, coarsest: Step, output_stride: int) -> dict[int, dict]:
    """What changes in the configurations of layers where strides are taken out, by layer."""
    changes: dict[int, dict] = {}
    for step in trace.steps:
        if step is coarsest or output_stride == STRIDE:
            break
        if not step.taken:
            continue
        before, layer = step.taken.grid.stride, step.layer
        dilation = max(1, before // output_stride)
        removed = step.place and step.place.grid.stride > output_stride and _strided(layer)
        if not removed and dilation == 1:
            continue
        if not step.place:
            raise _cannot_be_dilated(layer, "sees the whole image")
        if isinstance(layer, _PADDINGS):
            name = "padding" if isinstance(layer, layers.ZeroPadding2D) else "cropping"
            pads = [[int(dilation * n) for n in pair] for pair in getattr(layer, name)]
            changes[id(layer)] = {name: pads}
        elif isinstance(layer, _POOLINGS):
            if dilation > 1 and layer.pool_size != (1, 1):
                raise _cannot_be_dilated(layer, "is a pooling, and Keras has none with dilation")
            changes[id(layer)] = {"strides": (1, 1)}
        elif isinstance(layer, _WINDOWED):
            rates = [int(dilation * rate) for rate in layer.dilation_rate]
            changes[id(layer)] = {"strides": (1, 1), "dilation_rate": rates}
    return changes


def _strided(layer):
    return getattr(layer, "strides", (1, 1)) != (1, 1)


def _cannot_be_dilated(layer, reason):
    return UserError(
        f"`output_stride` of this backbone must be 32: its layer {layer.name} {reason}, so that "
        "the weights would not give the same numbers any more."
    )


def _as_rescaling(layer):
    """The same with numbers in place of weights, which exporters take for inputs."""
    mean, variance = (
        keras.ops.convert_to_numpy(numbers).reshape(-1) for numbers in (layer.mean, layer.variance)
    )
    scale = 1 / keras.ops.convert_to_numpy(keras.ops.maximum(variance**0.5, 1e-7))
    # Always float32: bfloat16 would round the mean before it is subtracted.
    return layers.Rescaling(
        scale.tolist(), (-mean * scale).tolist(), dtype="float32", name="standardize"
    )


def _remainder(trace: Trace, name: str, own: int | None) -> int:
    """Which remainder by `STRIDE` sizes have: the classifier's own if it will do."""
    if own is not None and trace.fitting[own]:
        return own
    fitting = trace.fitting.nonzero()[0]
    if not len(fitting):
        raise UserError(
            f"`backbone` {name} cannot be a trunk: for no size of an image do all of its strided "
            "layers find sizes that are multiples of their strides."
        )
    return int(fitting[0])


def _moved(place: Place, before: int) -> Grid:
    grid = place.grid
    return Grid(grid.stride, grid.shift - before, grid.field)


@dataclass
class _Map:
    """A map without the numbers in it, along one axis."""

    size: int
    grid: Grid


class _Sizes:
    """Plays the part of `fcn_keras.models.head.Head` on sizes alone."""

    def score(self, x, name):
        return x

    def rescale(self, x, scale, name):
        return x

    def upsample(self, x, factor, name, onto):
        deconv = bilinear_window(x.grid, factor, onto)
        return _Map(deconv.size(x.size), deconv.grid(x.grid))

    def fuse(self, coarse, skip, name):
        offset = skip.grid.offset_over(coarse.grid)
        small, large = (coarse, skip) if offset > 0 else (skip, coarse)
        if abs(offset) + small.size > large.size:
            raise ValueError(f"{name}: {large.size} cells cannot be cropped to {small.size}.")
        return small


def _padding(maps: dict[str, Place], variant: str, remainder: int, name: str) -> tuple[int, int]:
    """The fewest zeros before and behind an image with which the scores cover all of it."""

    def score(size, before):
        """The scores of an image of `size`, padding included, and the grid they lie on."""
        found = {}
        for key, place in maps.items():
            grid = _moved(place, before)
            cells = int(place.rows.sizes[remainder] - (SIZES[remainder] - size) // grid.stride)
            found[key] = _Map(cells, grid)
        if min(x.size for x in found.values()) < 1:
            return _Map(0, IMAGE)
        return scores(variant, found, _Sizes())

    def covers(before, more):
        for height in range(1, 2 * STRIDE + 1):
            size = STRIDE * -(-(height + more) // STRIDE) + remainder
            if size < before + height:
                return False
            x = score(size, before)
            if x.grid.offset_over(IMAGE) + height > x.size:
                return False
        return True

    try:
        before = max(0, -score(int(SIZES[remainder]), 0).grid.offset_over(IMAGE))
        for more in range(before - remainder, before - remainder + 8 * STRIDE):
            if covers(before, more):
                return before, more
    except ValueError as error:
        raise UserError(f"`backbone` {name} cannot be a trunk of {variant}: {error}") from error
    raise UserError(
        f"`backbone` {name} cannot be a trunk of {variant}: its scores do not cover the image."
    )
