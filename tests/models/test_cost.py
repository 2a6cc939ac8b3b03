"""What networks cost, against the networks that Keras builds, TensorFlow's profiler, and hand."""

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import UserError, build
from fcn_keras.models.cost import COUNTED, cost

WIDTH = 1 / 32
NETWORKS = [
    *((variant, {}) for variant in COUNTED),
    ("fcn8s", {"elide_padding": False}),
    ("fcn8s", {"geometry": "same"}),
    ("fcn16s", {"geometry": "same", "learn_upsampling": True}),
    ("fcn8s", {"upsampling": "nonlinear"}),
    ("fcn32s", {"output_stride": 8}),
    ("fcn32s", {"output_stride": 16, "geometry": "same"}),
    ("fcn-alexnet", {"elide_padding": False, "learn_upsampling": True}),
]


def network(variant, options, **more):
    return build(variant, 5, weights=None, width=WIDTH, dropout=0, **options, **more)


@pytest.mark.parametrize("variant, options", NETWORKS)
def test_layers_are_the_networks(variant, options):
    """Shapes of a real forward pass, and parameters."""
    model = network(variant, options)
    named = [layer.name for layer in cost(variant, (1, 1), 5, width=WIDTH, **options).layers]
    assert len(set(named)) == len(named)
    assert {layer.name for layer in model.layers if layer.weights} <= {*named}
    maps = keras.Model(model.input, {name: model.get_layer(name).output for name in named})
    for size in ((1, 1), (37, 90), (150, 97)):
        found = cost(variant, size, 5, width=WIDTH, **options)
        made = maps(np.zeros((1, *size, model.input_shape[-1]), "uint8"))
        assert {
            layer.name: (layer.height, layer.width, layer.channels) for layer in found.layers
        } == {name: tuple(x.shape[1:]) for name, x in made.items()}
    assert found.parameters == model.count_params()
    numbers = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert found.gradient_bytes() == 4 * numbers
    assert found.gradient_bytes("bfloat16") == found.gradient_bytes() / 2


def test_parameters_of_vgg16():
    """Those of the classifier without its last layer, three layers of scores, and upsampling."""
    classifier, last = 138_357_544, 4096 * 1000 + 1000
    score = (4096 + 1) * 21 + (512 + 1) * 21 + (256 + 1) * 21
    upsampling = (4 * 4 + 4 * 4 + 16 * 16) * 21 * 21
    found = cost("fcn8s", (500, 500))
    assert found.parameters == classifier - last + score + upsampling
    assert found.gradient_bytes() == 4 * (found.parameters - upsampling)
    assert found["fc6"].parameters == 7 * 7 * 512 * 4096 + 4096


def test_flops_by_hand():
    found = cost("fcn32s", (4, 6), 2, geometry="same", width=1 / 64)
    # One channel of a 3x3 convolution of three.
    assert (found["conv1_1"].forward_flops, found["conv1_1"].backward_flops) == (
        2 * 4 * 6 * 27,
        2 * 4 * 6 * 27,
    )
    # pool4 and pool5 round up to one cell; fc6 sees eight channels of it, and makes 64.
    assert found["fc6"].forward_flops == 2 * 49 * 8 * 64
    assert found["fc6"].backward_flops == 2 * 2 * 49 * 8 * 64
    # In two groups of two channels, each sees one of the two of the layer before.
    alexnet = cost("fcn-alexnet", (500, 500), width=1 / 64)
    assert (alexnet["pool1"].channels, alexnet["conv2"].channels) == (2, 4)
    places = alexnet["conv2"].height * alexnet["conv2"].width
    assert alexnet["conv2"].forward_flops == 2 * places * 4 * 5 * 5 * 1
    # Two classes from each of two; its kernel does not learn.
    assert found["upscore"].forward_flops == 2 * 64 * 64 * 2 * 2
    assert found["upscore"].backward_flops == 2 * 64 * 64 * 2 * 2
    learned = cost("fcn32s", (4, 6), 2, geometry="same", width=1 / 64, learn_upsampling=True)
    assert learned["upscore"].backward_flops == 2 * found["upscore"].backward_flops
    assert learned.gradient_bytes() - found.gradient_bytes() == 4 * 64 * 64 * 2 * 2


def flops_of(function, *arguments):
    """The convolutions of a function by TensorFlow's profiler: FLOPs and operation, by name."""
    graph = tf.function(function).get_concrete_function(*arguments).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    root = tf.compat.v1.profiler.profile(graph, cmd="graph", options=options)
    flops, nodes = {}, [root]
    while nodes:
        node = nodes.pop()
        flops[node.name] = node.float_ops
        nodes += node.children
    # What nothing asks for is in the graph, and is not run.
    needed, ahead = {}, [tensor.op for tensor in graph.outputs]
    while ahead:
        operation = ahead.pop()
        if operation.name not in needed:
            needed[operation.name] = operation
            ahead += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return {
        name: (flops[name], operation.type)
        for name, operation in needed.items()
        if operation.type.startswith("Conv2D")
    }


def layer_flops(model, found):
    """Sums the profiler's figures by layer, with its rule for gradients put right.

    It counts the gradients of a convolution as if it had a product for each place of its input,
    over its strides. There is one for each place of its output.
    """
    total = {}
    for name, (flops, operation) in found.items():
        # Such as gradient_tape/fcn8s_1/conv1_1_1/convolution/Conv2DBackpropFilter.
        layer = model.get_layer(re.search(r"/(\w+)_\d+/conv(?:olution|_transpose)", name)[1])
        sides = (layer.input.shape[1:3], layer.output.shape[1:3])
        (big, small) = sides[::-1] if "conv_transpose" in name else sides
        if operation != "Conv2D":
            flops = flops * np.prod(layer.strides) * np.prod(small) / np.prod(big)
        total[layer.name] = total.get(layer.name, 0) + flops
    return total


@pytest.mark.parametrize(
    "size", [(60, 90), pytest.param((224, 101), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize(
    "variant, options",
    [
        ("fcn8s", {}),
        ("fcn8s", {"elide_padding": False}),
        ("fcn8s", {"geometry": "same"}),
        ("fcn32s", {"learn_upsampling": True}),
        ("fcn16s", {"upsampling": "nonlinear"}),
        ("fcn-alexnet", {}),
    ],
)
def test_flops_by_tensorflows_profiler(variant, options, size):
    model = network(variant, options, input_shape=(*size, 3))
    image = tf.TensorSpec((1, *size, 3))

    def gradients(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(image, training=True) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    # Keras puts convolutions in groups into a function of their own, which is not profiled.
    grouped = {layer.name for layer in model.layers if getattr(layer, "groups", 1) > 1}
    layers = [
        layer
        for layer in cost(variant, size, 5, width=WIDTH, **options).layers
        if layer.macs and layer.name not in grouped
    ]
    forward = layer_flops(model, flops_of(lambda image: model(image), image))
    assert forward == pytest.approx({layer.name: layer.forward_flops for layer in layers})
    both = layer_flops(model, flops_of(gradients, image))
    assert both == pytest.approx(
        {layer.name: layer.forward_flops + layer.backward_flops for layer in layers}
    )


def test_elision_saves_and_changes_no_parameters():
    elided, plain = (cost("fcn8s", (500, 500), elide_padding=elide) for elide in (True, False))
    assert elided.parameters == plain.parameters
    assert elided.forward_flops < 0.9 * plain.forward_flops
    assert elided.activation_bytes() < 0.8 * plain.activation_bytes()


def test_halves_of_bytes():
    """In bfloat16 all but the image that goes in and the scores that come out takes half."""
    found = cost("fcn16s", (64, 48), 7)
    whole = 4 * 64 * 48 * (3 + 7)
    assert found.activation_bytes("bfloat16") - whole == (found.activation_bytes() - whole) / 2


@pytest.mark.parametrize(
    "variant, size, options, message",
    [
        ("fcn4s", (5, 5), {}, "`variant` must be one of fcn32s.*'fcn4s'"),
        ("fcn32s-color-hha", (5, 5), {}, "`variant` must be one of"),
        ("fcn8s", (0, 5), {}, "`size` must be at least 1 x 1.*0 x 5"),
        ("fcn8s", (5, 5), {"geometry": "valid"}, "`geometry` must be one of paper, same"),
        ("fcn-alexnet", (5, 5), {"geometry": "same"}, "`geometry` of fcn-alexnet"),
        ("fcn8s", (5, 5), {"output_stride": 8}, "`output_stride` of fcn8s must be 32"),
        ("fcn8s", (5, 5), {"width": 0}, "`width` must be above 0"),
        ("fcn8s", (5, 5), {"num_classes": 0}, "`num_classes` must be at least 1"),
    ],
)
def test_what_cannot_be_counted(variant, size, options, message):
    with pytest.raises(UserError, match=message):
        cost(variant, size, **options)


def test_command(run_command):
    options = ("--variant", "fcn16s", "--size", "64x48", "--width", "0.5", "--num-classes", 3)
    code, out, _ = run_command("bench", "cost", *options, "--no-elide", "--json")
    assert code == 0
    told = json.loads(out)
    found = cost("fcn16s", (64, 48), 3, width=0.5, elide_padding=False)
    assert told["forward_flops"] == found.forward_flops
    assert told["gradient_bytes"]["bfloat16"] == found.gradient_bytes("bfloat16")
    assert [layer["name"] for layer in told["layers"]] == [layer.name for layer in found.layers]
    assert (told["variant"], told["size"], told["elide_padding"]) == ("fcn16s", [64, 48], False)

    code, out, _ = run_command("bench", "cost", *options)
    lines = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert code == 0
    elided = cost("fcn16s", (64, 48), 3, width=0.5)
    assert f"{elided.forward_flops / 1e9:.2f}" in lines["all"]
    assert "64 x 48 x 3" in lines["score"]
    assert f"{elided.gradient_bytes() / 1e6:.1f} MB in float32" in lines["gradients:"]


def test_command_refuses_what_cannot_be(run_command):
    code, out, err = run_command("bench", "cost", "--variant", "fcn-alexnet", "--geometry", "same")
    assert (code, out) == (2, "")
    assert err.startswith("error: `geometry` of fcn-alexnet")


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from fcn_keras import cli; sys.argv = ['fcn-keras', 'bench', 'cost'];"
        "assert cli.main() == 0;"
        "print([m for m in ('tensorflow', 'keras', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
