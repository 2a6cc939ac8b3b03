"""Where every tensor of a Keras network lies on its image: one walk over its graph.

Each operation turns the places of what it takes into the place of what it makes, by the same
arithmetic as the paper's own layers (`geometry.py`). What is not known, and what adds maps that lie
a part of a cell apart, is refused: a skip that is a little off would be learnt around, unnoticed.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.geometry import IMAGE, Conv, Grid

# Sizes of images that stand for all: every remainder of the coarsest stride, and large.
STRIDE = 32
SIZES = 64 * STRIDE + np.arange(STRIDE)

# What works on each place by itself, by the names of layers and of operations.
_POINTWISE = {
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Identity", "ActivityRegularization"),
    *("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
    *("BatchNormalization", "LayerNormalization", "UnitNormalization", "Normalization"),
    *("Rescaling", "Dense", "LayerScale", "CustomScaleLayer", "StochasticDepth"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
    *("Divide", "TrueDivide", "Negative", "Square", "Sqrt", "Abs", "Absolute", "Power", "Exp"),
    *("Relu", "Relu6", "Sigmoid", "HardSigmoid", "Silu", "HardSilu", "Gelu", "Tanh", "Softplus"),
    *("Clip", "Cast", "Flip", "HardTanh", "Mish", "LogSigmoid", "Selu", "Elu", "LeakyRelu"),
}

_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)
_WHOLE = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten)


class Axis(NamedTuple):
    """How a map lies along one axis of the image.

    Attributes:
        grid: its stride, shift and field; the field is infinite where a cell sees all of the image.
        sizes: how many cells it has, for each of `SIZES`.
    """

    grid: Grid
    sizes: np.ndarray


class Place(NamedTuple):
    """How a map lies on the image: along its rows and its columns."""

    rows: Axis
    columns: Axis

    @property
    def grid(self) -> Grid:
        """The grid of both axes, with the larger field."""
        rows, columns = self.rows.grid, self.columns.grid
        return Grid(rows.stride, rows.shift, max(rows.field, columns.field))


class Step(NamedTuple):
    """A layer that was called: what it made, and where that lies.

    Attributes:
        layer: the operation.
        tensor: what it made.
        place: where that lies; None if it is no map.
        taken: where the first map lies that it was made of; None if of none.
    """

    layer: keras.Operation
    tensor: keras.KerasTensor
    place: Place | None
    taken: Place | None


class Trace:
    """The places of all tensors of a network, in the order in which they are computed.

    Models within the network are opened.

    Args:
        model: a functional network of one image `(N, H, W, C)`.

    Attributes:
        image: what stands for the image.
        output: what the network makes of it.
        steps: what was called, in order.
        fitting: for each remainder of an image's size by `STRIDE`, whether every "same" padding of
            a strided layer comes out alike: whether the maps lie as `steps` says.
        lost: for each remainder, how many pixels' worth of cells strided layers leave out at the
            end of their maps.

    Raises:
        UserError: if a layer is not known, or maps that are joined lie a part of a cell apart.
    """

    def __init__(self, model: keras.Model):
        self.steps: list[Step] = []
        self.fitting = np.ones(STRIDE, bool)
        self.lost = np.zeros(STRIDE)
        self._places: dict[int, Place | None] = {}
        self._last_use: dict[int, int] = {}
        self.image = keras.Input(batch_shape=model.input.shape, dtype=model.input.dtype)
        self._places[id(self.image)] = Place(Axis(IMAGE, SIZES), Axis(IMAGE, SIZES))
        self.output = replay(model, self.image, lambda layer: layer, self._call)

    def map_at(self, tensor: keras.KerasTensor) -> Place:
        """Returns where a map of this walk lies."""
        place = self._places[id(tensor)]
        assert place is not None, "no map"
        return place

    def cuts(self) -> list[Step]:
        """Returns the steps whose result is all that the later ones are made of."""
        cuts, needed = [], self._last_use.get(id(self.image), 0)
        for number, step in enumerate(self.steps):
            if needed <= number:
                cuts.append(step)
            needed = max(needed, self._last_use.get(id(step.tensor), 0))
        return cuts

    def _call(self, layer, *args, **kwargs):
        made = layer(*args, **kwargs)
        taken = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        places = [self._places.get(id(x)) for x in taken]
        place = self._behind(layer, taken, places, made)
        for x in taken:
            self._last_use[id(x)] = len(self.steps)
        before = next((place for place in places if place), None)
        for tensor in keras.tree.flatten(made):
            self._places[id(tensor)] = place
            self.steps.append(Step(layer, tensor, place, before))
        return made

    def _behind(self, layer, taken, places, made):
        maps = [(x, place) for x, place in zip(taken, places, strict=True) if place]
        if not maps:
            return None  # made of what is no map any more
        if isinstance(layer, _WHOLE) or len(made.shape) != 4:
            return None
        if len(maps) > 1:
            _check_together(layer, maps)
        if isinstance(layer, _CONVOLUTIONS + _POOLINGS):
            windows = _windows(layer)
            return Place(*map(self._slide, [maps[0][1]] * 2, (0, 1), windows))
        if isinstance(layer, layers.ZeroPadding2D):
            return _padded(maps[0][1], layer.padding, 1)
        if isinstance(layer, layers.Cropping2D):
            return _padded(maps[0][1], layer.cropping, -1)
        if not _is_pointwise(layer):
            raise UserError(
                f"`backbone` has the layer {layer.name} ({type(layer).__name__}), of which it is "
                "not known where the cells of its map lie on the image. A classifier is made of "
                "convolutions, poolings, paddings, and layers that work on each place by itself."
            )
        rows, columns = ([place[axis] for _, place in maps] for axis in (0, 1))
        sees_all = len(maps) < len(taken)  # scales of the whole image, say
        return Place(_widest(rows, sees_all), _widest(columns, sees_all))

    def _slide(self, place, number, window):
        """The axis of the map that a window makes, and what it asks of the image's size."""
        axis, (conv, same) = place[number], window
        sizes, (before, after) = axis.sizes, (0, 0)
        if same:
            missing = max(conv.extent - conv.stride, 0)
            before, after = missing // 2, missing - missing // 2
            self.fitting &= sizes % conv.stride == 0
        rest = sizes + before + after - conv.extent
        self.lost += rest % conv.stride * float(axis.grid.stride)
        grid = conv.grid(axis.grid)
        shift = grid.shift - axis.grid.stride * before
        return Axis(Grid(grid.stride, shift, grid.field), rest // conv.stride + 1)


def replay(
    model: keras.Model,
    image: keras.KerasTensor,
    clone: Callable[[keras.Operation], keras.Operation],
    call: Callable[..., Any] | None = None,
) -> Any:
    """Computes a network anew, operation by operation, with those of the models within it.

    Args:
        model: a functional network.
        image: what to compute it of.
        clone: gives each operation what takes its place.
        call: calls that; gets it and its arguments.

    Returns:
        What the network's outputs have become.
    """

    def cloned(operation):
        return operation if isinstance(operation, keras.Model) else clone(operation)

    def called(operation, *args, **kwargs):
        if isinstance(operation, keras.Model):
            return replay(operation, args[0], clone, call)
        if call:
            return call(operation, *args, **kwargs)
        return operation(*args, **kwargs)

    # A sequence of layers has a graph within it. `clone_model` would make a model of the result,
    # and with it other tensors than those it was computed of.
    graph = keras.Model(model.inputs, model.outputs)
    [output, *others] = graph._run_through_graph(image, operation_fn=cloned, call_fn=called)
    return [output, *others] if others else output


def _windows(layer):
    """The window of a layer along each axis, and whether its padding is "same"."""
    if isinstance(layer, _POOLINGS):
        sides, dilations = layer.pool_size, (1, 1)
    else:
        sides, dilations = layer.kernel_size, layer.dilation_rate
    return [
        (Conv(side, stride, dilation=dilation), layer.padding == "same")
        for side, stride, dilation in zip(sides, layer.strides, dilations, strict=True)
    ]


def _padded(place, amounts, sign):
    return Place(
        *(
            Axis(
                Grid(grid.stride, grid.shift - sign * before * grid.stride, grid.field),
                sizes + sign * (before + after),
            )
            for (grid, sizes), (before, after) in zip(place, amounts, strict=True)
        )
    )


def _is_pointwise(layer):
    if isinstance(layer, layers.PReLU):
        return layer.shared_axes == [1, 2]
    return type(layer).__name__ in _POINTWISE and type(layer).__module__.startswith("keras.")


def _widest(axes, sees_all):
    field = math.inf if sees_all else max(axis.grid.field for axis in axes)
    return Axis(Grid(axes[0].grid.stride, axes[0].grid.shift, field), axes[0].sizes)


def _check_together(layer, maps):
    """Refuses to join maps that lie a part of a cell apart, or whole cells."""
    (first, place), *others = maps
    for other, lies in others:
        for one, two in zip(place, lies, strict=True):
            if one.grid.stride != two.grid.stride:
                apart = f"have strides {one.grid.stride} and {two.grid.stride}"
            elif one.grid.shift != two.grid.shift:
                cells = abs(one.grid.shift - two.grid.shift) / one.grid.stride
                apart = f"lie {cells} of a cell apart, which no crop can mend"
            else:
                continue
            raise UserError(
                f"`backbone` cannot be a trunk: its layer {layer.name} joins maps of "
                f"{maker_of(first)} and {maker_of(other)}, which {apart}."
            )


def maker_of(tensor: keras.KerasTensor) -> str:
    """Returns the name of the layer that made a tensor."""
    return tensor._keras_history.operation.name
