"""What networks on classifiers of Keras' cost, against published figures, and TensorFlow's."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import UserError, build
from fcn_keras.models.cost import cost


def of_trunk(layers):
    """Products and parameters of the classifier's own layers, as `bench cost --json` tells them."""
    trunk = [layer for layer in layers if not layer["name"].startswith(("score", "upscore"))]
    return sum(layer["macs"] for layer in trunk), sum(layer["parameters"] for layer in trunk)


# Published at 224 x 224, in millions: products, and parameters; and of how many channels the dense
# top makes 1000 classes, which is left out here.
PUBLISHED = {
    # Keras' documentation of MobileNetV2, and that of ResNet50's parameters; He et al., table 1.
    ("mobilenet_v2", 0.35): (59, 1.66, 1280),
    ("mobilenet_v2", 1): (300, 3.47, 1280),
    ("resnet50", 1): (3800, 25.6, 2048),
    # Tan and Le, table 2.
    ("efficientnet_b0", 1): (390, 5.3, 1280),
}


@pytest.mark.parametrize(
    "backbone, width",
    [pytest.param(*name, marks=() if name[1] < 1 else pytest.mark.slow) for name in PUBLISHED],
)
def test_published_figures(backbone, width, run_command):
    products, parameters, channels = PUBLISHED[backbone, width]
    # The smallest size that is padded to 224 x 224.
    options = ("--backbone", backbone, "--width", width, "--size", 193, "--json")
    code, out, err = run_command("bench", "cost", *options)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["backbone"], told["width"], told["size"]) == (backbone, width, [193, 193])
    by_name = {layer["name"]: layer for layer in told["layers"]}
    assert by_name["image_pad"]["height"] in (224, 225)
    assert [by_name["score"][side] for side in ("height", "width", "channels")] == [193, 193, 21]
    assert told["forward_flops"] == sum(2 * layer["macs"] for layer in told["layers"])
    macs, numbers = of_trunk(told["layers"])
    assert macs / 1e6 + channels / 1e3 == pytest.approx(products, rel=0.025)
    # Two more for each channel that is normalised than are published.
    assert numbers / 1e6 + (channels + 1) / 1e3 == pytest.approx(parameters, rel=0.025)


def flops_of(model, image):
    """Operations of a network's convolutions and products, by TensorFlow's profiler."""
    graph = tf.function(lambda image: model(image)).get_concrete_function(image).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output()
    options = options.with_node_names(show_name_regexes=[".*(onv|MatMul|depthwise).*"]).build()
    root = tf.compat.v1.profiler.profile(graph, cmd="graph", options=options)
    return root.total_float_ops


@pytest.mark.slow
def test_products_are_tensorflows():
    size, options = (70, 45), dict(backbone="mobilenet_v2", width=0.35)
    found = cost("fcn32s", size, 3, **options)
    model = build("fcn32s", 3, weights=None, input_shape=(*size, 3), **options)
    trunk = model.get_layer("out_relu")
    inner = keras.Model(model.input, trunk.output)
    counted = flops_of(inner, tf.TensorSpec((1, *size, 3)))
    assert counted == pytest.approx(2 * of_trunk(found.as_dict()["layers"])[0], rel=0.03)
    assert found.parameters == model.count_params()
    for layer in found.layers:
        made = model.get_layer(layer.name).output
        assert tuple(made.shape[1:]) == (layer.height, layer.width, layer.channels)
    # Batch normalisation is frozen, and the kernel that upsamples does not learn.
    learn = [
        weight
        for weight in model.trainable_weights
        if not weight.path.split("/")[0].endswith(("BN", "bn", "Conv1"))
    ]
    first = int(np.prod(model.get_layer("Conv1").kernel.shape))
    numbers = sum(int(np.prod(weight.shape)) for weight in learn)
    assert found.gradient_bytes() == 4 * (numbers + first)
    # Nobody asks for the gradient of the image.
    assert found["Conv1"].backward_flops == found["Conv1"].forward_flops
    assert found["block_1_expand"].backward_flops == 2 * found["block_1_expand"].forward_flops
    assert found["upscore"].backward_flops == found["upscore"].forward_flops > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"geometry": "same"}, "`geometry` is VGG16's"),
        ({"elide_padding": False}, "`elide_padding` is VGG16's"),
        ({"backbone": "mobilenet_v4"}, "`backbone` must be one of"),
        ({"backbone": "resnet50", "width": 0.5}, "`width` of resnet50 must be 1"),
    ],
)
def test_what_cannot_be_counted(options, message):
    with pytest.raises(UserError, match=message):
        cost("fcn8s", (50, 50), **({"backbone": "mobilenet_v2"} | options))
