"""A trunk made of a classifier of Keras': its layers up to the last map, for images of any size.

Reference:
    Section 3.1 of arXiv 1411.4038: a classifier whose dense top is left out computes a map of
    features of an image of any size.
"""

import itertools
import re
from typing import Any

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.channels import PHOTO_MEAN, extended
from fcn_keras.models.coverage import least_padding, moved
from fcn_keras.models.layers import Feature, pad_to_remainder
from fcn_keras.models.tracing import STRIDE, WINDOWED, Place, Step, Trace
from fcn_keras.models.weights.first_layer import spread

# The names of what heads score, as the paper's trunk has them, and the strides of these maps.
MAPS = {"fc7": 32, "pool4": 16, "pool3": 8}

# How the names of this package's own layers begin.
_RESERVED = (
    *("image", "from_", "normalize", "standardize", "score", "up", "fuse_", "scale_pool"),
    "drop7",
)

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
        keep_weights: whether the copies of its layers get its weights, or random ones.

    Attributes:
        maps: where the maps lie that heads score, on the padded image.
        padding: how many zeros there are above the image and to its left, and, to be rounded up,
            below and to the right.

    Raises:
        UserError: if the classifier has no such maps, or these cannot be laid over each other.
    """

    def __init__(
        self,
        classifier: keras.Model,
        variant: str,
        output_stride: int = STRIDE,
        keep_weights: bool = True,
    ):
        trace = Trace(classifier)
        steps = _map_steps(trace, classifier.name, variant)
        self._keep_weights = keep_weights
        self._trace, self._tensors = trace, [step.tensor for step in steps.values()]
        self._dilations = _dilations(trace, steps["fc7"], output_stride)
        places = [trace.map_at(tensor) for tensor in self._tensors]
        self._lay(trace, dict(zip(steps, places, strict=True)), classifier.name, variant)
        if self._dilations:
            image = keras.Input(batch_shape=trace.image.shape)
            trace = Trace(keras.Model(image, self._copied(image)))
            places = [trace.map_at(tensor) for tensor in keras.tree.flatten(trace.output)]
            # So that its cells look where those do of what is not dilated, and between them.
            phase = self.padding[0], output_stride
            maps = dict(zip(steps, places, strict=True))
            self._lay(trace, maps, classifier.name, variant, phase)

    def _lay(self, trace, maps, name, variant, phase=(0, 1)):
        """Finds where maps lie on an image that is padded as they need it."""
        _check_square(maps, name)
        side, faults = trace.image.shape[1], []
        for remainder in _remainders(trace, name, side and side % STRIDE):
            try:
                self.padding = least_padding(maps, variant, remainder, name, phase)
            except UserError as error:
                faults.append(error)
            else:
                self.maps, self.remainder = maps, remainder
                return
        raise faults[0]

    def build(self, image: Feature) -> dict[str, Feature]:
        """Returns the maps that heads score, by the names of `MAPS`, of a preprocessed image."""
        before, more = self.padding
        padded = pad_to_remainder(image, before, more, STRIDE, self.remainder)
        return {
            name: Feature(tensor, moved(place.grid, before))
            for (name, place), tensor in zip(
                self.maps.items(), self._copied(padded.tensor), strict=True
            )
        }

    def _copied(self, image):
        """Computes the maps of an image by copies of the classifier's layers, with its weights."""
        self._channels = image.shape[-1]
        copies: dict[int, tuple[keras.Operation, keras.Operation]] = {}
        names = _Names()

        def copy(operation):
            if id(operation) not in copies:
                copies[id(operation)] = operation, self._copy(operation, names)
            return copies[id(operation)][1]

        tensors = self._trace.compute(self._tensors, image, copy)
        for old, new in copies.values():
            if self._keep_weights and isinstance(new, layers.Layer) and new.weights:
                new.set_weights(self._weights_for(new, old))
        return tensors

    def _weights_for(self, new, old):
        """A layer's weights, spread over the channels that its copy sees of an image."""
        weights = old.get_weights()
        shapes = [tuple(weight.shape) for weight in new.weights]
        if [weight.shape for weight in weights] == shapes:
            return weights
        if not isinstance(new, layers.Conv2D) or new.groups > 1:
            raise UserError(
                f"`channels` must be {self._trace.image.shape[-1]} on this backbone: its layer "
                f"{old.name} ({type(old).__name__}) has weights for so many channels of an image, "
                "and they are no plain convolution's, which could be spread over others."
            )
        return [spread(weights[0], shapes[0][2]), *weights[1:]]

    def _copy(self, operation, names):
        """A copy of an operation, dilated where strides are taken out."""
        if isinstance(operation, layers.Normalization):
            return _as_rescaling(operation, names.unique("standardize"), self._channels)
        config = operation.get_config() | self._dilations.get(id(operation), {})
        return type(operation).from_config(config | {"name": names.of(operation)})


class _Names:
    """Names for copies: those that Keras numbers by what was built before are counted anew.

    So they are the same in each process, and none that another layer has: layers of several models
    within a classifier may have one name, and those of this package are known by theirs.
    """

    def __init__(self):
        self.numbers: dict[str, int] = {}
        self.taken: set[str] = set()

    def of(self, operation):
        automatic = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(operation).__name__)
        automatic = re.sub("([a-z])([A-Z])", r"\1_\2", automatic).lower()
        if not re.fullmatch(rf"{automatic}(_\d+)?", operation.name):
            reserved = operation.name.startswith(_RESERVED)
            return self.unique(f"backbone_{operation.name}" if reserved else operation.name)
        number = self.numbers.get(automatic, 0)
        self.numbers[automatic] = number + 1
        return self.unique(f"backbone_{automatic}_{number}")

    def unique(self, name):
        """Returns a name, with a number behind it if it is taken."""
        numbers = (f"{name}_{number}" for number in itertools.count(1))
        name = next(new for new in itertools.chain([name], numbers) if new not in self.taken)
        self.taken.add(name)
        return name


def _map_steps(trace: Trace, name: str, variant: str) -> dict[str, Step]:
    """Finds the last maps of each stride that all that follows is made of."""
    last = {
        int(step.place.grid.stride): step
        for step in trace.cuts()
        if step.place
        and step.place.rows.grid.stride == step.place.columns.grid.stride
        and not isinstance(step.layer, _PADDINGS)
    }
    wanted = {"fcn32s": ["fc7"], "fcn16s": ["fc7", "pool4"]}.get(variant, list(MAPS))
    missing = [str(MAPS[key]) for key in wanted if MAPS[key] not in last]
    if missing:
        raise UserError(
            f"`backbone` of {variant} must have maps of stride {', '.join(missing)}. Received: "
            f"{name}, which has those of stride {', '.join(map(str, sorted(last)))}."
        )
    return {key: last[MAPS[key]] for key in wanted}


def _check_square(maps: dict[str, Place], name: str) -> None:
    for rows, columns in ((place.rows.grid, place.columns.grid) for place in maps.values()):
        if (rows.stride, rows.shift) != (columns.stride, columns.shift):
            raise UserError(
                f"`backbone` {name} cannot be a trunk: cell i of its map of stride {rows.stride} "
                f"looks at row {rows.stride} * i + {rows.shift} of an image, and at column "
                f"{columns.stride} * i + {columns.shift}. They must be the same."
            )


def _dilations(trace: Trace, coarsest: Step, output_stride: int) -> dict[int, dict]:
    """What changes in the configurations of layers where strides are taken out, by layer."""
    changes: dict[int, dict] = {}
    steps, cuts = trace.steps, {id(step.tensor) for step in trace.cuts()}
    for number, step in enumerate(steps if output_stride != STRIDE else []):
        layer, tensor, place, taken = step
        if not taken:
            continue
        dilations = [max(1, int(axis.grid.stride) // output_stride) for axis in taken]
        change: dict[str, Any] = {}
        if not place:
            if max(dilations) > 1:
                raise _cannot_be_dilated(layer, "sees the whole image")
        elif isinstance(layer, _PADDINGS):
            name = "padding" if isinstance(layer, layers.ZeroPadding2D) else "cropping"
            pads = [[n * dilation for n in pair] for pair, dilation in _pairs(layer, dilations)]
            if id(tensor) in cuts and step is not coarsest and name == "padding":
                # Where there is less padding before a map than behind it, the cells that come to
                # lie before the first one have none yet that they could be made of.
                strides = _strides(steps[number + 1], output_stride)
                for pair, dilation, (all_of_it, left) in zip(pads, dilations, strides, strict=True):
                    pair[0] += dilation * (all_of_it // left - 1) * (pair[1] > pair[0])
            change = {name: pads}
        elif isinstance(layer, WINDOWED):
            change = {"strides": [left for _, left in _strides(step, output_stride)]}
            if not isinstance(layer, _POOLINGS):
                rates = zip(layer.dilation_rate, dilations, strict=True)
                change["dilation_rate"] = [rate * dilation for rate, dilation in rates]
            elif max(dilations) > 1 and layer.pool_size != (1, 1):
                raise _cannot_be_dilated(layer, "is a pooling, and Keras has none with dilation")
        if changes.setdefault(id(layer), change) != change:
            raise _cannot_be_dilated(layer, "is used at maps of two strides")
        if step is coarsest:
            break
    return {key: change for key, change in changes.items() if change}


def _pairs(layer, dilations):
    amounts = layer.padding if isinstance(layer, layers.ZeroPadding2D) else layer.cropping
    return zip(amounts, dilations, strict=True)


def _strides(step, output_stride):
    """The stride of a layer along each axis, and what is left of it."""
    for one, other in zip(step.taken, step.place, strict=True):
        before, stride = int(one.grid.stride), int(other.grid.stride / one.grid.stride)
        yield stride, min(stride, max(1, output_stride // before))


def _cannot_be_dilated(layer, reason):
    return UserError(
        f"`output_stride` of this backbone must be 32: its layer {layer.name} {reason}, so that "
        "the weights would not give the same numbers any more."
    )


def _as_rescaling(layer, name, channels):
    """The same with numbers in place of weights, which exporters take for inputs."""
    mean, variance = (
        keras.ops.convert_to_numpy(numbers).reshape(-1) for numbers in (layer.mean, layer.variance)
    )
    std = keras.ops.convert_to_numpy(keras.ops.maximum(variance**0.5, 1e-7))
    if len(mean) == len(PHOTO_MEAN):
        mean, std = (np.array(extended(numbers, channels)) for numbers in (mean, std))
    scale, offset = (std, mean) if layer.invert else (1 / std, -mean / std)
    # Always float32: bfloat16 would round the mean before it is subtracted.
    return layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name=name)


def _remainders(trace: Trace, name: str, own: int | None) -> list[int]:
    """Which remainders by `STRIDE` sizes may have, the classifier's own first if it will do."""
    fitting = trace.fitting.nonzero()[0].tolist()
    if not fitting:
        raise UserError(
            f"`backbone` {name} cannot be a trunk: for no size of an image do all of its strided "
            "layers find sizes that are multiples of their strides, and all that it joins maps of "
            "one size."
        )
    return sorted(fitting, key=lambda remainder: remainder != own)
