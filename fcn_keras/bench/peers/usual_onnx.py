"""FCNs as ONNX, written by hand from plain layers that every reader of ONNX knows."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fcn_keras.bench.peers.plan import plan


def usual_onnx(
    variant: str,
    weights: dict[str, np.ndarray],
    size: tuple[int, int],
    width: float = 1.0,
    geometry: str = "paper",
) -> onnx.ModelProto:
    """Writes a network with all of its padding.

    Args:
        variant, width, geometry: see `fcn_keras.bench.peers.plan.plan`.
        weights: by layer, see `fcn_keras.bench.peers.forward`.
        size: height and width of the images.

    Returns:
        A network from `image`, float32 `(1, 3, H, W)`, preprocessed, to `score`, logits
        `(1, C, H, W)`.
    """
    network = plan(variant, width, geometry)
    nodes, constants = [], []

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(kind, name, inputs, **settings):
        nodes.append(helper.make_node(kind, inputs, [name], name, **settings))
        return name

    def convolve(x, name, kind="Conv", **settings):
        kernel = constant(f"{name}.kernel", weights[f"{name}.kernel"].transpose(3, 2, 0, 1))
        bias = f"{name}.bias"
        inputs = [x, kernel, *([constant(bias, weights[bias])] if bias in weights else [])]
        return add(kind, name, inputs, **settings)

    def crop(x, name, start, like):
        ends = [start + side for side in like]
        bounds = [
            constant(f"{name}.{key}", np.array(numbers, "int64"))
            for key, numbers in (("starts", [start] * 2), ("ends", ends), ("axes", [2, 3]))
        ]
        return add("Slice", name, [x, *bounds])

    x, sides, pools = "image", list(size), {}
    for block, convs in enumerate(network.blocks, start=1):
        for conv in convs:
            x = convolve(x, conv.name, pads=[conv.pad] * 4)
            x = add("Relu", f"{conv.name}.relu", [x])
            sides = [side + 2 * conv.pad - 2 for side in sides]
        x = add("MaxPool", f"pool{block}", [x], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        sides = [-(-side // 2) for side in sides]
        pools[x] = sides
    for conv in network.fc:
        x = convolve(x, conv.name, pads=[conv.pad] * 4)
        x = add("Relu", f"{conv.name}.relu", [x])
        sides = [side + 2 * conv.pad - conv.kernel + 1 for side in sides]
    x = convolve(x, "score_fr")
    for step in network.steps:
        x = convolve(x, step.name, "ConvTranspose", strides=[step.factor] * 2)
        sides = [step.factor * (side + 1) for side in sides]
        if step.skip is None:
            x = crop(x, "score", step.crop, size)
            continue
        skip = convolve(step.skip, f"score_{step.skip}")
        if step.crop:
            sides = pools[step.skip]
            x = crop(x, f"{step.name}.crop", step.crop, sides)
        else:
            skip = crop(skip, f"{skip}.crop", step.crop_skip, sides)
        x = add("Add", f"fuse_{step.skip}", [x, skip])
    classes = len(weights["score_fr.bias"])
    graph = helper.make_graph(
        nodes,
        variant,
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [1, classes, *size])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
