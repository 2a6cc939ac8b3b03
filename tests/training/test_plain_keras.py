"""The loss and the scores in Keras' own `compile` and `fit`, beside those of Keras."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from fcn_keras import (
    CaffeSGD,
    FCN8s,
    MeanAccuracy,
    MeanIU,
    PixelAccuracy,
    PixelCrossEntropy,
    SegmentationScores,
    build,
)
from fcn_keras.errors import UserError
from fcn_keras.evaluation.scores import SCORES
from fcn_keras.training.settings import NORMALIZATIONS

VOID = 255
THEIRS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)


def batch():
    """Four images and label maps; each half has as much void."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 10, 3), "uint8")
    labels = rng.integers(0, 3, (4, 8, 10), "uint8")
    labels[0, :3] = labels[2, 5:] = VOID
    return images, labels


def small_model(**compiled):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 64), keras.layers.Conv2D(3, 1)]
    )
    model.compile(keras.optimizers.SGD(0.5), **compiled)
    return model


WEIGHTS = {
    "one for all": np.float32(0.5),
    "of images": np.array([1.0, 0.0, 2.0, 0.5]),
    "of images, a column": np.array([[1.0], [0.0], [2.0], [0.5]]),
    "of pixels": np.random.default_rng(3).random((4, 8, 10)),
    "of pixels, with a channel": np.random.default_rng(3).random((4, 8, 10, 1)),
    "integers": np.array([1, 0, 3, 0]),
    "booleans": np.array([True, False, True, False]),
    "plain numbers": [1.0, 0.0, 2.0, 0.5],
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_weights_multiply_losses_and_not_what_they_are_divided_by(weights, normalization):
    _, labels = batch()
    logits = np.random.default_rng(2).normal(size=(*labels.shape, 3)).astype("float32")
    each = np.asarray(weights, "float64")
    each = each.reshape({1: (4, 1, 1), 2: (4, 1, 1), 4: labels.shape}.get(each.ndim, each.shape))
    valid = labels != VOID
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    right = np.take_along_axis(probabilities, np.where(valid, labels, 0)[..., None], axis=-1)
    losses = np.where(valid, -np.log(right[..., 0]), 0) * each
    divisor = {"sum": 1, "valid_pixels": valid.sum(), "image": 4}[normalization]
    loss = PixelCrossEntropy(normalization=normalization)
    found = float(loss(labels, logits, sample_weight=weights))
    assert found == pytest.approx(losses.sum() / divisor, rel=1e-5)
    ones = np.ones_like(each if each.ndim != 3 else labels)
    assert float(loss(labels, logits, sample_weight=ones)) == float(loss(labels, logits))


def test_weighted_loss_is_that_of_keras():
    images, labels = batch()
    for weights in (None, WEIGHTS["of pixels"]):
        ours, theirs = (
            small_model(loss=loss).evaluate(images, labels, sample_weight=weights, verbose=0)
            for loss in (PixelCrossEntropy(), THEIRS)
        )
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 8), (4, 8, 10, 3)])
def test_weights_of_another_shape_are_refused(shape):
    _, labels = batch()
    with pytest.raises(UserError, match=r"\(N, H, W\).*one for each pixel. Received: shape \(4, 8"):
        PixelCrossEntropy()(labels, np.zeros((*labels.shape, 3), "float32"), np.ones(shape))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_masked_pixels_are_void(normalization):
    _, labels = batch()
    logits = np.random.default_rng(2).normal(size=(*labels.shape, 3)).astype("float32")
    mask = np.random.default_rng(4).random(labels.shape) < 0.5
    mask[3] = False
    masked = keras.ops.convert_to_tensor(logits)
    masked._keras_mask = keras.ops.convert_to_tensor(mask)
    loss = PixelCrossEntropy(normalization=normalization)
    expected = float(loss(np.where(mask, labels, VOID), logits))
    assert float(loss(labels[..., None], masked)) == expected


ON_REPLICAS = """
import json
import keras
import numpy as np
import tensorflow as tf

device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_plain_keras import NORMALIZATIONS, THEIRS, PixelCrossEntropy, batch, small_model

losses = {name: PixelCrossEntropy(normalization=name) for name in NORMALIZATIONS}
data = tf.data.Dataset.from_tensor_slices(batch()).batch(4)
both = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
found = {}
for name, loss in {**losses, "keras": THEIRS}.items():
    found[name] = []
    for strategy in (tf.distribute.get_strategy(), both):
        with strategy.scope():
            model = small_model(loss=loss)
        numbers = [model.evaluate(data, verbose=0), *model.fit(data, verbose=0).history["loss"]]
        found[name].append(numbers + model.get_weights()[0].ravel().tolist())
print(json.dumps(found))
"""


def in_a_process(program, *args, **environment):
    paths = os.pathsep.join([os.path.dirname(__file__), *(path for path in sys.path if path)])
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_loss_and_step_do_not_grow_with_the_number_of_devices():
    found = in_a_process(ON_REPLICAS)
    for name in (*NORMALIZATIONS, "keras"):
        one, two = found[name]
        assert one == pytest.approx(two, rel=1e-5), name
    assert found["valid_pixels"][1] == pytest.approx(found["keras"][1], rel=1e-5)


OPTIONS = {"width": 1 / 64, "dropout": 0.0, "geometry": "same"}
# `keras.json` of another project.
OTHER = {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"}

UNDER_ANOTHER_FILE = """
import json
import sys
import keras
import numpy as np
from fcn_keras import CaffeSGD, MeanIU, PixelCrossEntropy, build, convolutionalize, expand_classes
from test_plain_keras import OPTIONS, batch

assert keras.config.floatx() == "float16" and keras.config.image_data_format() == "channels_first"
images, labels = batch()
folder = sys.argv[1]
opened = keras.models.load_model(f"{folder}/network.keras")
network = build("fcn32s", 3, weights=f"{folder}/network.keras", **OPTIONS)
far = [float(np.abs(np.asarray(m(images)) - np.load(f"{folder}/scores.npy")).max())
       for m in (opened, network, expand_classes(network, 3))]
policies = {layer.dtype_policy.name for layer in network.layers}
layouts = {layer.data_format for layer in network.layers if hasattr(layer, "data_format")}
network.compile(CaffeSGD(1e-10), PixelCrossEntropy(), metrics=[MeanIU(3)])
loss, score = network.evaluate(images, labels, verbose=0)
network.fit(images, labels, verbose=0)
image = keras.Input((8, 8, 3))
vector = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(image)
heatmap = convolutionalize(keras.Model(image, keras.layers.Dense(2)(vector)))
print(json.dumps({
    "far": far, "policies": sorted(policies), "layouts": sorted(layouts), "loss": loss,
    "score": score, "rate": float(network.optimizer.learning_rate.numpy()),
    "heatmap": heatmap.output_shape, "after": keras.config.image_data_format(),
}))
"""


@pytest.mark.slow
def test_another_projects_keras_json_changes_nothing(tmp_path):
    images, labels = batch()
    network = build("fcn32s", 3, weights=None, **OPTIONS)
    network.get_layer("score_fr").kernel.assign(np.random.default_rng(5).normal(size=(1, 1, 64, 3)))
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "scores.npy", np.asarray(network(images)))
    network.compile("sgd", PixelCrossEntropy(), metrics=[MeanIU(3)])
    loss, score = network.evaluate(images, labels, verbose=0)

    (tmp_path / "keras.json").write_text(json.dumps(OTHER))
    found = in_a_process(UNDER_ANOTHER_FILE, tmp_path, KERAS_HOME=str(tmp_path))
    assert found.pop("far") == [0, 0, 0]
    assert found.pop("loss") == pytest.approx(loss, rel=1e-3)  # Keras keeps its mean in float16
    assert found.pop("score") == pytest.approx(score, rel=1e-6)
    assert found == {
        "policies": ["float32"],
        "layouts": ["channels_last"],
        "rate": pytest.approx(1e-10),
        "heatmap": [None, None, None, 2],
        "after": "channels_first",
    }


def test_layout_that_is_set_at_run_time():
    images, _ = batch()
    network = build("fcn32s", 3, weights=None, **OPTIONS)
    expected = np.asarray(network(images))
    keras.config.set_image_data_format("channels_first")
    try:
        assert np.array_equal(network(images), expected)
        other = build("fcn32s", 3, weights=None, **OPTIONS)
        other.set_weights(network.get_weights())
        assert np.array_equal(other(images), expected)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    "metric, monitored",
    [
        (MeanAccuracy(3), ["mean_accuracy"]),
        (MeanIU(3), ["mean_iu"]),
        (PixelAccuracy(3, name="share"), ["share"]),
        (keras.metrics.MeanIoU(3, ignore_class=VOID, sparse_y_pred=False, name="iou"), ["iou"]),
    ],
)
def test_callbacks_know_which_way_is_up(metric, monitored, tmp_path):
    images, labels = batch()
    callbacks = [
        make(monitor=f"val_{name}")
        for name in monitored
        for make in (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau)
    ]
    for name in monitored:
        path = tmp_path / f"{name}.keras"
        options = {"monitor": f"val_{name}", "save_best_only": True}
        callbacks.append(keras.callbacks.ModelCheckpoint(path, **options))
    small_model(loss=PixelCrossEntropy(), metrics=[metric]).fit(
        images, labels, validation_data=(images, labels), callbacks=callbacks, verbose=0
    )
    assert {callback.monitor_op for callback in callbacks} == {keras.ops.greater}
    assert len(list(tmp_path.iterdir())) == len(monitored)


def test_all_scores_in_a_list():
    """As `evaluate` returns them without `return_dict`."""
    images, labels = batch()
    model = small_model(loss=PixelCrossEntropy(), metrics=[SegmentationScores(3)])
    found = model.evaluate(images, labels, verbose=0)
    named = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert {*named} == {"loss", *SCORES} and sorted(found) == sorted(named.values())


def test_a_second_metric_has_the_same_name():
    assert [MeanIU(3).name, MeanIU(3).name] == ["mean_iu", "mean_iu"]


@pytest.mark.parametrize("weights", ["of images", "of pixels", "of pixels, with a channel"])
@pytest.mark.parametrize("eager", [True, False])
def test_pixels_count_as_often_as_their_weight_says(weights, eager):
    images, labels = batch()
    weights = (WEIGHTS[weights] * 3).astype(int)
    theirs = keras.metrics.MeanIoU(3, ignore_class=VOID, sparse_y_pred=False)
    model = small_model(loss=PixelCrossEntropy(), weighted_metrics=[MeanIU(3)], run_eagerly=eager)
    scores = model.evaluate(images, labels, sample_weight=weights, verbose=0, return_dict=True)
    each = weights.reshape(4, 1, 1) if weights.ndim == 1 else weights.reshape(labels.shape)
    each = np.broadcast_to(each, labels.shape)
    theirs.update_state(labels, model.predict(images, verbose=0), each)
    assert scores["mean_iu"] == pytest.approx(float(theirs.result()), rel=1e-6)


def test_a_weight_of_zero_leaves_out_what_is_no_class():
    _, labels = batch()
    labels[1] = 17
    logits = np.random.default_rng(2).normal(size=(*labels.shape, 3))
    weighted, plain = SegmentationScores(3), SegmentationScores(3)
    weighted.update_state(labels, logits, sample_weight=[1, 0, 1, 1])
    plain.update_state(labels[[0, 2, 3]], logits[[0, 2, 3]])
    np.testing.assert_array_equal(weighted.confusion, plain.confusion)


def test_parts_of_pixels_are_not_counted():
    images, labels = batch()
    logits = np.zeros((*labels.shape, 3), "float32")
    for weights in ([1, 1, 0.5, 1], [1, 1, -1, 1], [1, 1, np.nan, 1]):
        with pytest.raises(UserError, match="whole numbers from 0 up. Received: 1 other"):
            MeanIU(3).update_state(labels, logits, sample_weight=weights)
    model = small_model(loss=PixelCrossEntropy(), weighted_metrics=[MeanIU(3)])
    weights = np.full(4, 0.5)
    found = model.evaluate(images, labels, sample_weight=weights, verbose=0, return_dict=True)
    assert np.isnan(found["mean_iu"])  # a compiled function cannot raise


def tensor(values, dtype=None):
    return keras.ops.convert_to_tensor(values, dtype)


NUMBERS = {
    "NumPy": (np.array, np.float32, np.int64),
    "tensors": (tensor, tensor, tensor),
}


@pytest.mark.parametrize("array, number, integer", NUMBERS.values(), ids=NUMBERS)
def test_arguments_of_any_kind_are_saved(array, number, integer, tmp_path):
    """Eighths and such, which every type holds."""
    optimizer = CaffeSGD(
        number(0.125), number(0.5), number(0.25), {"bias$": array([2.0, 0.0])}, integer(2)
    )
    model = build(
        "fcn32s",
        integer(3),
        geometry="same",
        weights=None,
        width=number(1 / 64),
        dropout=number(0.25),
        learn_upsampling=np.bool_(True),
        input_mean=array([1.0, 2.0, 3.0]),
        input_std=number(4.0),
        input_shape=np.array([8, 10, 3]),
    )
    loss = PixelCrossEntropy(integer(VOID), class_weights=array([0.5, 1.0, 2.0]))
    model.compile(optimizer, loss, metrics=[MeanIU(integer(3), integer(VOID))])
    optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == loss.get_config()
    assert loss.get_config()["class_weights"] == [0.5, 1, 2]
    assert again.optimizer.get_config() == optimizer.get_config()
    assert json.loads(json.dumps(optimizer.get_config()))["factors"]["bias$"] == [2, 0]
    images, _ = batch()
    assert np.array_equal(again(images), model(images))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: PixelCrossEntropy(class_weights={0: 1.0}), "`class_weights`.*list.*{0: 1.0}"),
        (lambda: PixelCrossEntropy(class_weights=[[1.0]]), "`class_weights`.*list of numbers"),
        (lambda: PixelCrossEntropy(class_weights=2.0), "`class_weights`.*list of numbers"),
        (lambda: PixelCrossEntropy(ignore_label=None), "`ignore_label`.*whole number.*None"),
        (lambda: MeanIU(3.0), "`num_classes`.*whole number.*3.0"),
        (lambda: FCN8s(3.0, weights=None), "`num_classes`.*whole number.*3.0"),
        (lambda: FCN8s(3, weights=None, input_std=0), "`input_std`.*above 0.*0.0"),
        (lambda: CaffeSGD(accumulate=0), "`accumulate`.*at least 1.*0"),
        (
            lambda: PixelCrossEntropy(class_weights=[1.0])(*batch()[::-1]),
            "`class_weights` must be 3 numbers.*Received: 1",
        ),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(UserError, match=message):
        wrong()


@pytest.mark.parametrize(
    "options",
    [
        {"run_eagerly": True},
        {"jit_compile": True},
        {"steps_per_execution": 2},
        {"auto_scale_loss": False},
    ],
)
def test_ways_to_compile(options):
    images, labels = batch()
    found = []
    for more in ({}, options):
        model = small_model(loss=PixelCrossEntropy(), metrics=["accuracy", MeanIU(3)], **more)
        found.append(model.fit(images, labels[..., None].astype("int64"), verbose=0).history)
    assert found[0].keys() == found[1].keys() == {"loss", "accuracy", "mean_iu"}
    for name, values in found[0].items():
        assert values == pytest.approx(found[1][name], rel=1e-5)
