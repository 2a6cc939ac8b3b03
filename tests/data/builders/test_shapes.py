import hashlib
import subprocess
import sys

import numpy as np
import pytest

from fcn_keras.data.tfds.builders.shapes import scene
from fcn_keras.data.tfds.builders.shapes.shapes_dataset_builder import Builder

SMALL_SPLITS = {"train": 6, "validation": 3}


class SmallShapes(Builder, skip_registration=True):
    SPLIT_SIZES = SMALL_SPLITS


def draw(split, index):
    return scene.draw_scene(scene.scene_rng(split, index))


def digest(split, index):
    image, label = draw(split, index)
    return hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def scenes():
    return {
        "train": [draw("train", i) for i in range(150)],
        "validation": [draw("validation", i) for i in range(100)],
    }


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    SmallShapes(data_dir=data_dir, file_format="array_record").download_and_prepare()
    return data_dir


def test_shapes_and_dtypes(scenes):
    for image, label in scenes["train"]:
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8
        assert label.shape == (96, 96, 1) and label.dtype == np.uint8


@pytest.mark.parametrize("size", [64, 160])
def test_other_sizes(size):
    image, label = scene.draw_scene(scene.scene_rng("train", 0), size=size)
    assert image.shape == (size, size, 3)
    assert label.shape == (size, size, 1)


def test_classes_and_colors_match():
    assert scene.CLASSES[0] == "background"
    assert len(set(scene.CLASSES)) == len(set(scene.COLORS)) == len(scene.COLORS) == 5


def test_other_process_draws_the_same_bytes():
    # The other process draws backwards and starts elsewhere, so this also shows that no scene
    # depends on those before it.
    code = """
import hashlib, runpy, sys
scene = runpy.run_path(sys.argv[1])
for split in ("validation", "train"):
    for index in (1999, 17, 3, 0):
        image, label = scene["draw_scene"](scene["scene_rng"](split, index))
        print(split, index, hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest())
"""
    command = [sys.executable, "-c", code, scene.__file__]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == 8
    for line in lines:
        split, index, expected = line.split()
        assert digest(split, int(index)) == expected


def test_labels_are_classes_or_ignored(scenes):
    for split in scenes.values():
        for _, label in split:
            assert set(np.unique(label)) <= {0, 1, 2, 3, 4, 255}


def test_every_class_has_its_share(scenes):
    for split in scenes.values():
        labels = np.stack([label for _, label in split])
        counts = np.bincount(labels.ravel(), minlength=256)
        assert np.all(counts[1:5] > 0.1 * counts[1:5].sum())
        assert counts[0] < 0.85 * counts.sum()


def test_no_scene_is_drawn_twice(scenes):
    images = {image.tobytes() for split in scenes.values() for image, _ in split}
    assert len(images) == sum(len(split) for split in scenes.values())


def test_void_lies_exactly_on_region_boundaries():
    for index in range(4):
        _, regions, classes = scene._draw_regions(scene.scene_rng("train", index), 96)
        _, label = draw("train", index)
        for y in range(96):
            for x in range(96):
                near = regions[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                at_boundary = len(set(near.ravel().tolist())) > 1
                expected = 255 if at_boundary else classes[regions[y, x]]
                assert label[y, x, 0] == expected


def test_void_separates_touching_shapes_of_one_class():
    regions = np.zeros((6, 6), np.uint8)
    regions[:, 2:4] = 1
    regions[:, 4:] = 2
    assert scene._edges(regions).tolist() == [[False, True, True, True, True, False]] * 6


def test_shapes_stay_visible():
    for index in range(100):
        _, regions, classes = scene._draw_regions(scene.scene_rng("train", index), 96)
        visible = np.bincount(regions.ravel())
        assert 2 <= len(classes) - 1 <= 5
        assert len(visible) == len(classes)
        # Less than half of the smallest star.
        assert visible[1:].min() >= 120


def test_shapes_stand_out_from_the_ground(scenes):
    # A shape's colour must not tell its class, but it must differ from the ground nearby.
    for image, label in scenes["validation"]:
        void = label[..., 0] == 255
        ground = image[label[..., 0] == 0].astype(float)
        shapes = image[~void & (label[..., 0] > 0)].astype(float)
        distances = np.linalg.norm(shapes - ground.mean(axis=0), axis=1)
        assert np.median(distances) > 40


def test_mean_color_does_not_tell_the_class(scenes):
    pixels = {class_id: [] for class_id in range(1, 5)}
    for image, label in scenes["train"]:
        for class_id in np.intersect1d(label, list(pixels)):
            pixels[class_id].append(image[label[..., 0] == class_id].mean(axis=0))
    means = np.stack([np.mean(colors, axis=0) for colors in pixels.values()])
    spread = np.std(np.concatenate(list(pixels.values())), axis=0)
    assert np.all(np.ptp(means, axis=0) < 0.6 * spread)


def test_builder_info():
    assert Builder.name == "shapes"
    assert Builder.SPLIT_SIZES == {"train": 2000, "validation": 300}
    assert str(Builder.VERSION) == "1.0.0"


def test_builder_writes_the_drawn_scenes_in_order(data_dir):
    # Builder state comes from disk here, as it does for a user's second run.
    builder = SmallShapes(data_dir=data_dir)
    builder.download_and_prepare()
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == SMALL_SPLITS
    for split, size in SMALL_SPLITS.items():
        source = builder.as_data_source(split)
        assert len(source) == size
        for index in reversed(range(size)):
            example = source[index]
            image, label = draw(split, index)
            assert example["id"].decode() == f"{split}-{index:05d}"
            np.testing.assert_array_equal(example["image"], image)
            np.testing.assert_array_equal(example["label"], label)


def test_builder_metadata_survives_on_disk(data_dir):
    metadata = SmallShapes(data_dir=data_dir).info.metadata
    assert metadata["classes"] == list(scene.CLASSES)
    assert [tuple(color) for color in metadata["colors"]] == list(scene.COLORS)
    assert metadata["ignore_label"] == 255


def test_builder_features(data_dir):
    features = SmallShapes(data_dir=data_dir).info.features
    assert features["image"].shape == (96, 96, 3)
    assert features["label"].shape == (96, 96, 1)
    assert features["image"].np_dtype == features["label"].np_dtype == np.uint8


def test_builder_reads_as_tf_data(tmp_path):
    builder = SmallShapes(data_dir=tmp_path)
    builder.download_and_prepare()
    dataset = builder.as_dataset(split="train", as_supervised=True)
    for index, (image, label) in enumerate(dataset.as_numpy_iterator()):
        expected_image, expected_label = draw("train", index)
        np.testing.assert_array_equal(image, expected_image)
        np.testing.assert_array_equal(label, expected_label)
