"""Where every tensor of a Keras network lies on its image: one walk over its graph.

Each operation turns the places of what it takes into the place of what it makes, by the same
arithmetic as the paper's own layers (`geometry.py`). What is not known, and what adds maps that lie
a part of a cell apart, is refused: a skip that is a little off would be learnt around, unnoticed.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
    *("Rescaling", "Dense", "LayerScale", "CustomScaleLayer", "StochasticDepth", "Log"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
    *("Divide", "TrueDivide", "Negative", "Square", "Sqrt", "Abs", "Absolute", "Power", "Exp"),
    *("Relu", "Relu6", "Sigmoid", "HardSigmoid", "Silu", "HardSilu", "Gelu", "Tanh", "Softplus"),
    *("Clip", "Cast", "Flip", "HardTanh", "Mish", "LogSigmoid", "Selu", "Elu", "LeakyRelu"),
}

_POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)
# What looks at a window around each place, and what looks at all places at once.
WINDOWED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, *_POOLINGS)
WHOLE = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten)


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
            a strided layer comes out alike, and maps that are joined are equally large: whether
            the maps lie as `steps` says.

    Raises:
        UserError: if a layer is not known, or maps that are joined lie a part of a cell apart.
    """

    def __init__(self, model: keras.Model):
        self.steps: list[Step] = []
        self.fitting = np.ones(STRIDE, bool)
        self._places: dict[int, Place | None] = {}
        self._last_use: dict[int, int] = {}
        self._calls: list[tuple] = []  # operation, arguments, what it made
        [image] = model.inputs
        self.image = keras.Input(batch_shape=image.shape, dtype=image.dtype)
        self._places[id(self.image)] = Place(Axis(IMAGE, SIZES), Axis(IMAGE, SIZES))
        self.output = _replay(model, self.image, self._call)

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

    def compute(
        self,
        tensors: Sequence[keras.KerasTensor],
        image: keras.KerasTensor,
        instead: Callable[[keras.Operation], keras.Operation],
    ) -> list[keras.KerasTensor]:
        """Computes tensors of this walk anew.

        Args:
            tensors: which.
            image: what to compute them of.
            instead: gives each operation that they take what takes its place.
        """
        needed, calls = {*map(id, tensors)}, []
        for call in reversed(self._calls):
            if needed & {*map(id, call[2])}:
                needed |= {*map(id, keras.tree.flatten(call[1]))}
                calls.append(call)
        new = {id(self.image): image}
        for operation, arguments, made in reversed(calls):
            args, kwargs = keras.tree.map_structure(lambda x: new.get(id(x), x), arguments)
            results = keras.tree.flatten(instead(operation)(*args, **kwargs))
            new.update(zip(map(id, made), results, strict=True))
        return [new[id(x)] for x in tensors]

    def _call(self, layer, *args, **kwargs):
        made = layer(*args, **kwargs)
        self._calls.append((layer, (args, kwargs), keras.tree.flatten(made)))
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
        if isinstance(made, keras.KerasTensor) and len(made.shape) != 4 or type(layer) in WHOLE:
            return None
        if not _is_known(layer):
            raise UserError(
                f"`backbone` has the layer {layer.name} ({type(layer).__name__}), of which it is "
                "not known where the cells of its map lie on the image. A classifier is made of "
                "convolutions, poolings, paddings, and layers that work on each place by itself."
            )
        [(_, first), *others] = maps
        if type(layer) in WINDOWED:
            return Place(*map(self._slide, first, windows_of(layer)))
        if type(layer) is layers.ZeroPadding2D:
            return _padded(first, layer.padding, 1)
        if type(layer) is layers.Cropping2D:
            return _padded(first, layer.cropping, -1)
        _check_together(layer, maps)
        for axis, other in ((axis, other) for axis in (0, 1) for _, other in others):
            self.fitting &= first[axis].sizes == other[axis].sizes
        rows, columns = ([place[axis] for _, place in maps] for axis in (0, 1))
        whole = [x for x, place in zip(taken, places, strict=True) if not place]
        if any(side != 1 for x in whole for side in x.shape[1:-1]):
            raise UserError(
                f"`backbone` cannot be a trunk: its layer {layer.name} joins a map with numbers "
                "for each place, which are there for one size of images alone."
            )
        return Place(_widest(rows, bool(whole)), _widest(columns, bool(whole)))

    def _slide(self, axis, window):
        """The axis of the map that a window makes, and what it asks of the image's size."""
        conv, same = window
        sizes, (before, after) = axis.sizes, (0, 0)
        if same:
            missing = max(conv.extent - conv.stride, 0)
            before, after = missing // 2, missing - missing // 2
            self.fitting &= sizes % conv.stride == 0
        rest = sizes + before + after - conv.extent
        grid = conv.grid(axis.grid)
        shift = grid.shift - axis.grid.stride * before
        return Axis(Grid(grid.stride, shift, grid.field), rest // conv.stride + 1)


def _replay(model, image, call):
    """Computes a network anew, operation by operation, with those of the models within it."""

    def called(operation, *args, **kwargs):
        opened = _replay(operation, args[0], call) if is_graph(operation) else None
        return call(operation, *args, **kwargs) if opened is None else opened

    # A sequence of layers has a graph within it.
    graph = keras.Model(model.inputs, model.outputs)
    [output, *others] = graph._run_through_graph(image, call_fn=called)
    return [output, *others] if others else output


def is_graph(model: object) -> bool:
    """Whether something is a model of which Keras knows the graph: functional, or a sequence."""
    if not isinstance(model, keras.Model) or not type(model).call.__module__.startswith("keras."):
        return False
    return bool(getattr(model, "inputs", None))


def windows_of(layer: keras.Layer) -> list[tuple[Conv, bool]]:
    """Returns the window of a layer along each axis, and whether its padding is "same"."""
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


def is_pointwise(layer: keras.Operation) -> bool:
    """Whether a layer works on each place of a map by itself."""
    if isinstance(layer, layers.PReLU):
        return layer.shared_axes == [1, 2]
    if not {*keras.tree.flatten(getattr(layer, "axis", -1))} <= {-1, 3}:
        return False  # it normalises, joins or turns over places
    return type(layer).__name__ in _POINTWISE and type(layer).__module__.startswith("keras.")


def _is_known(layer):
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    # Not what is derived from them, which may do anything.
    slides = type(layer) in (*WINDOWED, layers.ZeroPadding2D, layers.Cropping2D)
    return slides or is_pointwise(layer)


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
                apart = f"lie {cells} of a cell apart"
                if cells.denominator > 1:
                    apart += ", which no crop can mend"
            else:
                continue
            raise UserError(
                f"`backbone` cannot be a trunk: its layer {layer.name} joins maps of "
                f"{maker_of(first)} and {maker_of(other)}, which {apart}."
            )


def maker_of(tensor: keras.KerasTensor) -> str:
    """Returns the name of the layer that made a tensor."""
    return tensor._keras_history.operation.name
