"""FCNs as ONNX, written by hand from plain layers that every reader of ONNX knows."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fcn_keras.bench.peers.network import fcn_layers


def usual_onnx(
    variant: str,
    weights: dict[str, np.ndarray],
    size: tuple[int, int],
    width: float = 1.0,
    geometry: str = "paper",
) -> onnx.ModelProto:
    """Writes a network with all of its padding.

    Args:
        variant, width, geometry: see `fcn_keras.bench.peers.network.fcn_layers`.
        weights: by layer, see `fcn_keras.bench.peers.files`.
        size: height and width of the images.

    Returns:
        A network from `image`, float32 `(1, 3, H, W)`, preprocessed, to `score`, logits
        `(1, C, H, W)`.
    """
    trunk, upsamplings = fcn_layers(variant, width, geometry)
    graph = _Graph(weights)
    x, sides, pools = "image", [*size], {}
    for name, layer, channels in trunk:
        sides = [layer.size(side) for side in sides]
        if channels:
            x = graph.multiply(x, name, pads=[layer.pad] * 4)
            x = graph.add("Relu", f"{name}.relu", [x])
        else:
            x = graph.add("MaxPool", name, [x], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
            pools[x] = sides
    x = graph.multiply(x, "score_fr")
    for step in upsamplings:
        x = graph.multiply(x, step.name, "ConvTranspose", strides=[step.factor] * 2)
        sides = [step.factor * (side + 1) for side in sides]
        if step.skip is None:
            graph.crop(x, "score", step.crop, size)
            break
        skip = graph.multiply(step.skip, f"score_{step.skip}")
        if step.crop:
            sides = pools[step.skip]
            x = graph.crop(x, f"{step.name}.crop", step.crop, sides)
        else:
            skip = graph.crop(skip, f"{skip}.crop", step.crop_skip, sides)
        x = graph.add("Add", f"fuse_{step.skip}", [x, skip])
    return graph.written(variant, size)


class _Graph:
    """Nodes and constants; each method adds a layer to a map, and returns the name of another."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], []

    def add(self, kind, name, inputs, **settings):
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **settings))
        return name

    def multiply(self, x, name, kind="Conv", **settings):
        """A layer with a kernel, and a bias if there is one."""
        inputs = [
            x,
            self._constant(f"{name}.kernel", self.weights[f"{name}.kernel"].transpose(3, 2, 0, 1)),
        ]
        if f"{name}.bias" in self.weights:
            inputs.append(self._constant(f"{name}.bias", self.weights[f"{name}.bias"]))
        return self.add(kind, name, inputs, **settings)

    def crop(self, x, name, start, sides):
        bounds = {"starts": [start] * 2, "ends": [start + side for side in sides], "axes": [2, 3]}
        inputs = [
            self._constant(f"{name}.{key}", np.array(numbers, "int64"))
            for key, numbers in bounds.items()
        ]
        return self.add("Slice", name, [x, *inputs])

    def written(self, name, size):
        image, score = (
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, count, *size])
            for name, count in (("image", 3), ("score", len(self.weights["score_fr.bias"])))
        )
        graph = helper.make_graph(self.nodes, name, [image], [score], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def _constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name
