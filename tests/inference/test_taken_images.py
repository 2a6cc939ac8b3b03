"""Arrays that a network is given: taken as they are, or refused, whatever opened the network."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from fcn_keras import UserError, build
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference.c_library.library import library_path
from fcn_keras.inference.opening import open_network

CLASSES = 3
NAMES, COLORS = ["a", "b", "c"], [(0, 0, 0), (1, 1, 1), (2, 2, 2)]


def photographs():
    """Which of its colours a pixel has most of; black ones are of class 2."""
    image = keras.Input((None, None, 3))
    conv = layers.Conv2D(CLASSES, 1)
    model = keras.Model(image, conv(layers.Rescaling(1.0, [0.0, 0.0, 0.5])(image)))
    conv.set_weights([np.eye(3)[None, None], np.zeros(3)])
    return model


def deep():
    """Four channels of 16 bits, each with a mean of its own."""
    numbers = dict(input_mean=(900.0, 90.0, 2000.0, 30.0), input_std=(100.0, 10.0, 50.0, 9.0))
    model = build(
        "fcn32s", CLASSES, weights=None, width=1 / 32, channels=4, input_dtype="uint16", **numbers
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name == "score_fr":
            layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module", params=["keras", "kept", "exported"])
def opened(request, tmp_path_factory):
    """What labels images of each network."""
    if request.param == "kept" and not library_path().exists():
        pytest.skip("no C library in this wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("home")))
        found = {}
        for model in (photographs(), deep()):
            folder = tmp_path_factory.mktemp("network")
            what = model
            if request.param == "kept":
                what = folder / "net.keras"
                model.save(what)
                open_network(what)
            elif request.param == "exported":
                what = export(model, folder, NAMES, COLORS)
            found[model.input_shape[-1]] = model, open_network(what)
        return found


def pixels(channels, dtype="uint8"):
    shape = (2, 5, 7, channels)
    return np.random.default_rng(1).integers(0, 256, shape).astype(dtype)


def unwritable(images):
    images = images.copy()
    images.setflags(write=False)
    return images


SAME = {
    "unwritable": unwritable,
    "columns first": np.asfortranarray,
    "mirrored": lambda images: images[:, ::-1, ::-2],
    "colours turned round": lambda images: images[..., ::-1],
    "one for all": lambda images: np.broadcast_to(images[:1], (3, *images.shape[1:])),
    "big-endian": lambda images: images.astype(">u2"),
    "wide": lambda images: images.astype("int64"),
    "floats": lambda images: images.astype("float32"),
    "a tensor": lambda images: tf.constant(images),
    "one pixel": lambda images: images[:, :1, :1],
    "one row": lambda images: images[:, :1],
}


@pytest.mark.parametrize("change", SAME.values(), ids=[*SAME])
@pytest.mark.parametrize("channels", [3, 4])
def test_the_same_numbers_are_the_same_image(opened, channels, change):
    model, segmenter = opened[channels]
    images = change(pixels(channels, "uint8" if channels == 3 else "uint16"))
    native = np.asarray(images)
    native = native.astype(native.dtype.newbyteorder("="), order="C")
    expected = np.asarray(model(native))
    found = np.stack(segmenter.label(images))
    best = np.take_along_axis(expected, found[..., None].astype(int), -1)[..., 0]
    np.testing.assert_allclose(best, expected.max(-1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        np.stack(segmenter.score(images)), tf.nn.softmax(expected), rtol=0, atol=1e-5
    )


def test_images_of_several_kinds_at_once(opened):
    model, segmenter = opened[3]
    images = [pixels(3)[0], pixels(3)[1, :3], pixels(3)[1].astype("float64")]
    for image, found in zip(images, segmenter.label(images), strict=True):
        expected = np.asarray(model(image[None].astype("uint8")))[0].argmax(-1)
        np.testing.assert_array_equal(found, expected)
    assert segmenter.label([]) == []


OTHERS = {
    "from 0 to 1": (3, lambda images: images / 255),
    "halves": (3, lambda images: images + np.float32(0.5)),
    "beyond bytes": (3, lambda images: images.astype("int32") + 256),
    "below zero": (3, lambda images: images.astype("int16") - 128),
    "no numbers": (3, lambda images: np.where(images > 9, images, np.nan)),
    "beyond 16 bits": (4, lambda images: images.astype("int32") + 65536),
    "grey": (3, lambda images: images[..., :1]),
    "with opacity": (3, lambda images: images[..., [0, 1, 2, 2]]),
    "without channels": (3, lambda images: images[..., 0]),
    "one of four": (4, lambda images: images[..., :1]),
    "three of four": (4, lambda images: images[..., :3]),
}


@pytest.mark.parametrize(("channels", "change"), OTHERS.values(), ids=[*OTHERS])
def test_other_numbers_are_refused(opened, channels, change):
    _, segmenter = opened[channels]
    images = change(pixels(channels, "uint8" if channels == 3 else "uint16"))
    for ask in (segmenter.label, segmenter.score, segmenter.segment, segmenter.probabilities):
        with pytest.raises(UserError, match="takes images"):
            ask(images)


def test_what_a_server_is_given_is_looked_at(opened):
    """A server runs the graph itself; one channel would be taken for all."""
    _, segmenter = opened[4]
    if not hasattr(segmenter, "session"):
        pytest.skip("Keras looks at it")
    for images in (pixels(1, "uint16"), pixels(4, "uint16")[..., 0]):
        for signature in ("segment", "probabilities"):
            with pytest.raises(RuntimeError, match="not compatible with expected shape"):
                segmenter.session.run(signature, {"image": images})


@pytest.mark.parametrize("classes", [257, 300])
def test_more_classes_than_bytes_tell_apart(classes, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(classes, 1)(image))
    model.save(tmp_path / "net.keras")
    for what in (model, tmp_path / "net.keras", tmp_path / "net.keras"):
        with pytest.raises(UserError, match=f"tells {classes} classes apart"):
            open_network(what)
