"""Images of four channels and 16 bits from the folder to the server, with one result."""

import io
import json
import shutil
import signal

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fcn_keras import build
from fcn_keras.cli.app import main
from fcn_keras.data.files.readers import AsStored
from fcn_keras.data.statistics import ChannelStatistics
from fcn_keras.errors import UserError
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.inference.network import load_network
from fcn_keras.inference.opening import open_network
from fcn_keras.models.channels import stored_numbers, stored_pixels
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.serving.rest_model import RestModel
from fcn_keras.training.crops import augmentation_of
from fcn_keras.training.initial_network import make_network
from fcn_keras.training.train import train

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")

SETTINGS = dict(
    **dict(channels=4, width=1 / 32, epochs=4, batch_size=2, crop_size=(32, 32), scale_min=0.8),
    **dict(rotation=20.0, blur=1.0, vertical_flip=True, color=0.3, learning_rate=0.003),
    **dict(validate_every=2, deterministic=True),
)
CLASSES, COLORS = ["ground", "crop"], [(0, 0, 0), (0, 128, 0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Squares that show in the fourth channel alone."""
    root = tmp_path_factory.mktemp("fields")
    rng = np.random.default_rng(0)
    for split, count in {"train": 6, "val": 3}.items():
        for part in (split, f"{split}annot"):
            (root / part).mkdir()
        for i in range(count):
            mask = np.zeros((44, 40), "uint8")
            top, left = rng.integers(0, 20, 2)
            mask[top : top + 20, left : left + 18] = 1
            image = rng.integers(2000, 2400, (44, 40, 4), "uint16")
            image[..., 3] += mask.astype("uint16") * 1500
            tifffile.imwrite(root / split / f"{i}.tif", image, compression="zlib")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{i}.png")
    about = {"classes": CLASSES, "colors": COLORS}
    (root / "dataset.json").write_text(json.dumps(about))
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    return train(resolve("small", dataset=str(folder), **SETTINGS), path)


def call(monkeypatch, *words):
    """Runs a command within this process, and returns its exit code."""
    monkeypatch.setattr("sys.argv", ["fcn-keras", *map(str, words)])
    return main()


def images_of(folder, split="val"):
    paths = sorted((folder / split).iterdir())
    return paths, np.stack([tifffile.imread(path) for path in paths])


def test_the_network_knows_its_images(run, folder):
    model = load_network(run).full
    assert stored_pixels(model) == (4, "uint16")
    _, images = images_of(folder, "train")
    stored = stored_numbers(model)
    np.testing.assert_allclose(stored.mean, images.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(stored.std, images.std(axis=(0, 1, 2)), rtol=1e-9)


def test_a_stop_changes_nothing(run, folder, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

    settings = resolve("small", dataset=str(folder), **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", callbacks=[Stop()])
    train(settings, tmp_path / "run")
    for name in ("best.keras", "last.keras"):
        one, other = (keras.models.load_model(path / name) for path in (run, tmp_path / "run"))
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_run_goes_on_with_what_its_images_were(folder, tmp_path):
    """Not with what they are by now: layers would have learned of other numbers."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            signal.raise_signal(signal.SIGINT)

    mine = shutil.copytree(folder, tmp_path / "fields")
    settings = resolve("small", dataset=str(mine), **SETTINGS | {"epochs": 2})
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "run", callbacks=[Stop()])
    before = json.loads((tmp_path / "run" / "config.json").read_text())["statistics"]
    for path in (mine / "train").iterdir():
        tifffile.imwrite(path, tifffile.imread(path) * np.uint16(3))
    train(settings, tmp_path / "run")
    for name in ("best.keras", "last.keras"):
        stored = stored_numbers(keras.models.load_model(tmp_path / "run" / name))
        np.testing.assert_allclose(stored.mean, before["mean"], rtol=1e-9)


def test_grey_and_opacity_of_16_bits(tmp_path):
    """PNG files that Pillow does not read as they are, validated on and scored from files."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    for i in range(6):
        mask = np.zeros((40, 40), "uint8")
        mask[:, : 10 + 3 * i] = 1
        image = rng.integers(0, 65536, (40, 40, 2), "uint16")
        with open(tmp_path / "set" / "images" / f"{i}.png", "wb") as file:
            file.write(imagecodecs.png_encode(image))
        Image.fromarray(mask).save(tmp_path / "set" / "masks" / f"{i}.png")
    settings = SETTINGS | {"channels": 2, "epochs": 1, "validate_every": 1}
    run = train(resolve("small", dataset=str(tmp_path / "set"), **settings), tmp_path / "run")
    network = load_network(run)
    assert network.images == AsStored(2, "uint16")
    exported = export(network.model, tmp_path / "export", *numbered_classes(2))
    files = sorted((tmp_path / "set" / "images").iterdir())
    answer = tf.saved_model.load(str(exported)).signatures["serving_default"](
        image_bytes=tf.constant([file.read_bytes() for file in files])
    )
    images = np.stack([network.images.read(file) for file in files])
    np.testing.assert_array_equal(
        images[0], imagecodecs.png_decode(files[0].read_bytes()).reshape(40, 40, 2)
    )
    expected = np.asarray(network.model(images)).argmax(axis=-1)
    assert (answer["class_pixels"].numpy().sum(axis=-1) == 1600).all()
    for mask, labels in zip(answer["mask_bytes"].numpy(), expected, strict=True):
        with Image.open(io.BytesIO(mask)) as picture:
            assert np.mean(np.asarray(picture) == labels) > 0.999


@pytest.mark.parametrize("channels", [3, 5, None])
def test_a_run_of_other_channels_is_no_start(run, channels):
    settings = resolve("small", dataset="x", width=1 / 32, init_from=str(run))
    statistics = channels and ChannelStatistics("uint16", (9.0,) * channels, (1.0,) * channels)
    words = rf"on images of {channels or 3} channels\. Received: .*which takes 4"
    with pytest.raises(UserError, match=words):
        make_network(settings, 2, statistics)


def test_all_ways_give_one_result(run, folder, tmp_path, capsys, monkeypatch):
    paths, images = images_of(folder)
    model = keras.models.load_model(run / "best.keras")
    logits = np.asarray(model(images))
    expected = logits.argmax(axis=-1)
    truth = np.stack(
        [np.asarray(Image.open(folder / "valannot" / f"{path.stem}.png")) for path in paths]
    )
    # Scores, worked out by hand.
    ious = [
        np.sum((expected == k) & (truth == k)) / np.sum((expected == k) | (truth == k))
        for k in range(2)
    ]
    assert call(monkeypatch, "evaluate", run, "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose([*scores["per_class_iu"].values()], ious, atol=2e-3)

    exported = export(load_network(run).model, tmp_path / "export", CLASSES, COLORS)
    signatures = tf.saved_model.load(str(exported)).signatures
    assert {*signatures} == {"serving_default", "segment", "probabilities"}
    served = RestModel(exported, "fields", 1)
    answer = served.predict({"signature_name": "segment", "instances": images.tolist()})
    answers = {
        "keras": open_network(load_network(run).model).segment(images),
        "in parts": open_network(load_network(run).model, tile=20).segment(images[:1]),
        "kept": open_network(run).segment(images),
        "exported": open_network(exported).segment(images),
        "signature": signatures["segment"](image=tf.constant(images))["class_ids"].numpy(),
        "served": np.array(answer["predictions"], "uint8"),
    }
    for way, class_ids in answers.items():
        assert np.mean(class_ids == expected[: len(class_ids)]) > 0.999, way
    for number, what in enumerate((run, exported)):
        out = tmp_path / f"out{number}"
        assert call(monkeypatch, "predict", what, folder / "val", "--output", out) == 0
        for path, labels in zip(paths, expected, strict=True):
            assert np.mean(np.asarray(Image.open(out / f"{path.stem}.png")) == labels) > 0.999
            with Image.open(out / f"{path.stem}_overlay.png") as picture:
                assert picture.size == (40, 44)


def test_images_of_other_numbers_are_refused(run, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "bytes.tif", np.zeros((9, 9, 4), "uint8"))
    tifffile.imwrite(tmp_path / "three.tif", np.zeros((9, 9, 3), "uint16"))
    for name, text in {"bytes": "holds uint8, and uint16", "three": "has 3 channels"}.items():
        with pytest.raises(UserError, match=text):
            open_network(run).images.read(tmp_path / f"{name}.tif")
    assert call(monkeypatch, "predict", run, tmp_path / "bytes.tif", "--output", tmp_path) == 2
    assert call(monkeypatch, "evaluate", run, "--dataset", "shapes") == 2


@pytest.mark.parametrize("dtype, brightest", [("uint8", 255), ("uint16", 65535), ("float32", None)])
def test_crops_are_padded_by_the_mean(dtype, brightest):
    statistics = ChannelStatistics(dtype, (1.5, 2.5), (1.0, 1.0))
    augmentation = augmentation_of(resolve("small", dataset="x"), statistics)
    assert augmentation.padding == (1.5, 2.5)
    if brightest:
        assert augmentation.brightest == brightest


def test_an_unread_number_in_a_request(run, tmp_path):
    served = RestModel(export(load_network(run).model, tmp_path, CLASSES, COLORS), "fields", 1)
    rows = np.full((1, 3, 3, 4), 65536).tolist()
    with pytest.raises(UserError, match="image must be from 0 to 65535"):
        served.predict({"signature_name": "segment", "inputs": rows})


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_files_are_served(dtype, tmp_path):
    """Of four channels; what has others is skipped, as damaged files are."""
    keras.utils.set_random_seed(0)
    numbers = dict(input_mean=[100.0] * 4, input_std=[60.0] * 4)
    model = build("fcn8s", 2, weights=None, width=1 / 32, channels=4, input_dtype=dtype, **numbers)
    for layer in model.layers:
        if layer.name.startswith("score_") and layer.weights:
            layer.set_weights(
                [np.random.default_rng(0).normal(size=w.shape) for w in layer.weights]
            )
    image = np.random.default_rng(1).integers(0, 250, (33, 41, 4)).astype(dtype)
    bgra = image[..., [2, 1, 0, 3]]
    good = cv2.imencode(".png", bgra)[1].tobytes()
    others = {
        "three channels": cv2.imencode(".png", bgra[..., :3])[1].tobytes(),
        "the other depth": cv2.imencode(
            ".png", bgra.astype({"uint8": "uint16", "uint16": "uint8"}[dtype])
        )[1].tobytes(),
        "damaged": good[:-200],
        "a photograph": cv2.imencode(".jpg", bgra[..., :3].astype("uint8"))[1].tobytes(),
        "nothing": b"",
    }
    signature = tf.saved_model.load(str(export(model, tmp_path, CLASSES, COLORS))).signatures
    answer = signature["serving_default"](image_bytes=tf.constant([good, *others.values()]))
    masks, pixels = answer["mask_bytes"].numpy(), answer["class_pixels"].numpy()
    expected = np.asarray(model(image[None]))[0].argmax(axis=-1)
    with Image.open(io.BytesIO(masks[0])) as mask:
        assert np.mean(np.asarray(mask) == expected) > 0.999
    assert pixels[0].sum() == expected.size
    assert [*masks[1:]] == [b""] * len(others) and (pixels[1:] == -1).all()


def test_what_png_cannot_hold_is_served_as_arrays(tmp_path):
    model = build("fcn8s", 2, weights=None, width=1 / 32, channels=6)
    exported = export(model, tmp_path, CLASSES, COLORS)
    signatures = tf.saved_model.load(str(exported)).signatures
    # Keras has every SavedModel answer by default.
    assert {*signatures} == {"serving_default", "segment", "probabilities"}
    assert [*signatures["serving_default"].structured_outputs] == ["class_ids"]
    images = np.zeros((1, 5, 5, 6), "uint8").tolist()
    answer = RestModel(exported, "six", 1).predict({"signature_name": "segment", "inputs": images})
    assert np.array(answer["outputs"]).shape == (1, 5, 5)
