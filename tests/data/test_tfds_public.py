"""TFDS's own data sets: its own builders fed with small files in the original layout."""

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download import download_manager

from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders import downloads
from fcn_keras.data.tfds.public import load_public
from fcn_keras.data.tfds.split import AdaptedSplit
from fcn_keras.errors import UserError

ROOT = Path(__file__).parents[2]
ARRAY_RECORD = tfds.core.FileFormat.ARRAY_RECORD


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(downloads, "faults_of", lambda urls: dict.fromkeys(urls, "no connection"))


def encoded(array, format="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format)
    return file.getvalue()


def random_image(seed, size):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), "uint8")


# Oxford-IIIT Pet: two archives that TFDS knows the digests of.

PETS = {"trainval": ["Abyssinian_100", "beagle_1"], "test": ["pug_7"]}


def trimap(stem):
    mask = np.random.default_rng([*stem.encode()]).integers(1, 4, (6, 9), "uint8")
    mask.flat[:3] = 1, 2, 3
    return mask


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """A manual folder with both archives."""
    files = {"images.tar.gz": {}, "annotations.tar.gz": {}}
    for split, stems in PETS.items():
        lines = "".join(f"{stem} 1 1 1\n" for stem in stems)
        files["annotations.tar.gz"][f"annotations/{split}.txt"] = lines.encode()
        for stem in stems:
            photo = encoded(random_image([*stem.encode(), 1], (6, 9)), "JPEG")
            files["images.tar.gz"][f"images/{stem}.jpg"] = photo
            mask = encoded(trimap(stem))
            files["annotations.tar.gz"][f"annotations/trimaps/{stem}.png"] = mask
    manual = tmp_path / "manual"
    manual.mkdir()
    for name, members in files.items():
        with tarfile.open(manual / name, "w:gz") as archive:
            for path, contents in members.items():
                about = tarfile.TarInfo(path)
                about.size = len(contents)
                archive.addfile(about, io.BytesIO(contents))
    # Ours are not the published files; but for that TFDS takes them as it would take those.
    monkeypatch.setattr(
        download_manager.DownloadManager, "_register_or_validate_checksums", lambda self, **_: None
    )
    return manual


def test_pets(pets, tmp_path):
    dataset = load_dataset("tfds:oxford_iiit_pet", str(tmp_path / "data"), str(pets))
    assert dataset.name == "oxford_iiit_pet"
    assert dataset.classes == ("background", "pet")
    assert dataset.colors[0] == (0, 0, 0) and len(dataset.colors) == 2
    for split, stems in (("train", PETS["trainval"]), ("val", PETS["test"])):
        examples = [dataset.splits[split][i] for i in range(len(dataset.splits[split]))]
        assert sorted(example.id for example in examples) == [f"{stem}.jpg" for stem in stems]
        for example in examples:
            stem = example.id.removesuffix(".jpg")
            photo = encoded(random_image([*stem.encode(), 1], (6, 9)), "JPEG")
            np.testing.assert_array_equal(example.image, np.asarray(Image.open(io.BytesIO(photo))))
            assert example.label.shape == (6, 9, 1) and example.label.dtype == np.uint8
            meaning = {1: 1, 2: 0, 3: 255}
            for value, class_id in zip(trimap(stem).flat, example.label.flat, strict=True):
                assert class_id == meaning[value]


def test_pets_are_counted(pets, tmp_path):
    split = load_public("tfds:oxford_iiit_pet", str(tmp_path / "data"), str(pets)).splits["val"]
    values = np.bincount(trimap("pug_7").ravel(), minlength=4)
    counts = split.scan()
    assert (counts[0], counts[1], counts[255]) == (values[2], values[1], values[3])
    assert counts.sum() == 54
    assert split.size(0) == (6, 9)


def test_second_time_needs_no_files(pets, tmp_path):
    load_public("tfds:oxford_iiit_pet", str(tmp_path / "data"), str(pets))
    dataset = load_public("tfds:oxford_iiit_pet", str(tmp_path / "data"), str(tmp_path / "none"))
    assert len(dataset.splits["train"]) == 2


def test_pets_without_network(tmp_path):
    with pytest.raises(UserError) as error:
        load_public("tfds:oxford_iiit_pet", str(tmp_path / "data"), str(tmp_path / "manual"))
    message = str(error.value)
    assert "\n" not in message
    for part in ("images.tar.gz", "annotations.tar.gz", "no connection", str(tmp_path / "manual")):
        assert part in message


def test_command_ends_within_seconds_without_network(tmp_path):
    # In a process of its own, with nothing patched but the name service.
    code = f"""
import socket, time
def refuse(*_, **__): raise socket.gaierror("no network")
socket.getaddrinfo = refuse
from fcn_keras import load_dataset
from fcn_keras.errors import UserError
import tensorflow_datasets
start = time.monotonic()
try:
    load_dataset("tfds:oxford_iiit_pet", {str(tmp_path)!r})
except UserError as error:
    print(time.monotonic() - start, error)
"""
    command = [sys.executable, "-c", code]
    seconds, message = (
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        .stdout.splitlines()[-1]
        .split(maxsplit=1)
    )
    assert float(seconds) < 10
    assert "images.tar.gz" in message


# Cityscapes: two archives fetched by hand.

CITIES = {
    "train": ["aachen_000000_000019", "zurich_000001_000019"],
    "val": ["munster_000000_000019"],
    "test": ["berlin_000000_000019"],
}


@pytest.fixture
def cityscapes(tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    with (
        zipfile.ZipFile(manual / "leftImg8bit_trainvaltest.zip", "w") as images,
        zipfile.ZipFile(manual / "gtFine_trainvaltest.zip", "w") as labels,
    ):
        for split, stems in CITIES.items():
            for stem in stems:
                place = f"{split}/{stem.split('_')[0]}/{stem}"
                images.writestr(
                    f"leftImg8bit/{place}_leftImg8bit.png",
                    encoded(random_image([*stem.encode()], (16, 16))),
                )
                labels.writestr(f"gtFine/{place}_gtFine_labelIds.png", encoded(every_value(stem)))
    return manual


def every_value(stem):
    order = np.random.default_rng([*stem.encode()]).permutation(256)
    return order.reshape(16, 16).astype("uint8")


def test_cityscapes(cityscapes, tmp_path):
    dataset = load_dataset("tfds:cityscapes", str(tmp_path / "data"), str(cityscapes))
    assert set(dataset.splits) == {"train", "val"}
    assert len(dataset.splits["train"]) == 2 and len(dataset.splits["val"]) == 1
    # The order of train ids, from Cityscapes' own table.
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    example = dataset.splits["val"][0]
    assert example.id == CITIES["val"][0]
    np.testing.assert_array_equal(example.image, random_image([*example.id.encode()], (16, 16)))
    for value, class_id in zip(every_value(example.id).flat, example.label.flat, strict=True):
        assert class_id == (ids.index(value) if value in ids else 255)
    assert len(dataset.classes) == len(set(dataset.colors)) == 19
    for name, color in {
        "road": (128, 64, 128),
        "sky": (70, 130, 180),
        "person": (220, 20, 60),
        "car": (0, 0, 142),
        "bicycle": (119, 11, 32),
    }.items():
        assert dataset.colors[dataset.classes.index(name)] == color
    assert dataset.classes.index("sky") == ids.index(23)


def test_cityscapes_without_files(tmp_path):
    with pytest.raises(UserError, match="leftImg8bit_trainvaltest.zip") as error:
        load_public("tfds:cityscapes", str(tmp_path / "data"), str(tmp_path / "manual"))
    assert "\n" not in str(error.value) and "cityscapes-dataset.com" in str(error.value)


def test_cityscapes_without_labels(tmp_path):
    with pytest.raises(UserError, match="no feature 'segmentation_label'.*Images: image_left"):
        load_public("tfds:cityscapes/stereo_disparity", str(tmp_path / "data"))


# Any other set: one with the features that decide something.


class AdapterZoo(tfds.core.GeneratorBasedBuilder):
    """Three images in each split; values of the masks are 0, 1, 2, 3 and 255."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=name) for name in ("full", "bare", "nothing")
    ]

    def _info(self):
        mask = dict(shape=(None, None, 1), encoding_format="png")
        features = {
            "photo": tfds.features.Image(encoding_format="png"),
            "grey": tfds.features.Image(shape=(None, None, 1)),
            "named": tfds.features.LabeledImage(labels=["void", "a", "b", "c"], **mask),
            "plain": tfds.features.Image(**mask),
            "deep": tfds.features.Image(dtype=np.uint16, **mask),
            "flat": tfds.features.Tensor(shape=(5, 4), dtype=np.int32),
            "picture": tfds.features.Image(encoding_format="png"),
            "weight": tfds.features.Tensor(shape=(5, 4), dtype=np.float32),
            "file_name": tfds.features.Text(),
        }
        if self.builder_config.name == "bare":
            features.pop("file_name")
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        names = {"full": ("train", "test", "validation"), "bare": ("train", "test")}
        return {
            split: self._generate_examples(split)
            for split in names.get(self.builder_config.name, ("extra",))
        }

    def _generate_examples(self, split):
        for index in range(3):
            mask = zoo_mask(split, index)
            example = {
                "photo": zoo_image(split, index),
                "grey": zoo_image(split, index)[..., :1],
                "named": np.minimum(mask, 3)[..., None],
                "plain": mask[..., None],
                "deep": mask[..., None].astype("uint16"),
                "flat": mask.astype("int32") - 1,
                "picture": zoo_image(split, index),
                "weight": np.ones((5, 4), "float32"),
                "file_name": f"{split}_{index}.png",
            }
            yield index, {name: example[name] for name in self.info.features}


def zoo_image(split, index):
    return random_image([*split.encode(), index], (5, 4))


def zoo_mask(split, index):
    rng = np.random.default_rng([*split.encode(), index, 1])
    mask = rng.choice(np.array([0, 1, 2, 3, 255], "uint8"), (5, 4))
    mask.flat[:5] = 0, 1, 2, 3, 255
    return mask


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Where all configurations are prepared."""
    data_dir = str(tmp_path_factory.mktemp("data"))
    for config in ("full", "bare", "nothing"):
        builder = AdapterZoo(data_dir=data_dir, config=config, file_format=ARRAY_RECORD)
        builder.download_and_prepare()
    return data_dir


def load_zoo(zoo, query, config="full"):
    return load_dataset(f"tfds:adapter_zoo/{config}?{query}", zoo)


def check_zoo(dataset, meaning, val="validation"):
    for ours, theirs in (("train", "train"), ("val", val)):
        for index in range(3):
            example = dataset.splits[ours][index]
            np.testing.assert_array_equal(example.image, zoo_image(theirs, index))
            expected = [meaning[value] for value in zoo_mask(theirs, index).flat]
            assert example.label.ravel().tolist() == expected
            assert example.label.shape == (5, 4, 1)


@pytest.mark.parametrize(
    "query, meaning, classes",
    [
        # As they are; counted.
        ("mask=plain", {0: 0, 1: 1, 2: 2, 3: 3, 255: 255}, 4),
        ("mask=deep", {0: 0, 1: 1, 2: 2, 3: 3, 255: 255}, 4),
        # 0 is void.
        ("mask=plain&shift=-1", {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}, 3),
        ("mask=plain&shift=-2", {0: 255, 1: 255, 2: 0, 3: 1, 255: 255}, 2),
        # Values before the shift.
        ("mask=plain&ignore=3", {0: 0, 1: 1, 2: 2, 3: 255, 255: 255}, 3),
        ("mask=plain&shift=-1&ignore=3", {0: 255, 1: 0, 2: 1, 3: 255, 255: 255}, 2),
        ("mask=plain&ignore=0", {0: 255, 1: 1, 2: 2, 3: 3, 255: 255}, 4),
        ("mask=plain&classes=7", {0: 0, 1: 1, 2: 2, 3: 3, 255: 255}, 7),
        ("mask=plain&shift=-1&classes=7", {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}, 7),
    ],
)
def test_values(zoo, query, meaning, classes):
    dataset = load_zoo(zoo, f"image=photo&{query}")
    check_zoo(dataset, meaning)
    assert dataset.classes == tuple(f"class_{i}" for i in range(classes))
    assert len(dataset.colors) == classes


@pytest.mark.parametrize(
    "options, meaning, classes",
    [
        ("", {0: 0, 1: 1, 2: 2, 3: 3, 255: 3}, ("void", "a", "b", "c")),
        ("&shift=-1", {0: 255, 1: 0, 2: 1, 3: 2, 255: 2}, ("a", "b", "c")),
        ("&ignore=3", {0: 0, 1: 1, 2: 2, 3: 255, 255: 255}, ("void", "a", "b")),
        ("&shift=-1&ignore=3", {0: 255, 1: 0, 2: 1, 3: 255, 255: 255}, ("a", "b")),
    ],
)
def test_names_come_from_the_feature(zoo, options, meaning, classes):
    dataset = load_zoo(zoo, f"image=photo&mask=named{options}")
    check_zoo(dataset, meaning)
    assert dataset.classes == classes


def test_names_are_not_counted_where_they_are_known(zoo, monkeypatch):
    monkeypatch.setattr(AdaptedSplit, "values", None)
    assert len(load_zoo(zoo, "image=photo&mask=named").classes) == 4


def test_tensor_with_values_without_meaning(zoo):
    split = load_zoo(zoo, "image=photo&mask=flat&classes=3").splits["train"]
    with pytest.raises(UserError, match="adapter_zoo train 0.*`flat` holds -1.*3 classes"):
        split[0]
    with pytest.raises(UserError, match="adapter_zoo train 0.*`flat` holds -1"):
        split.scan()


def test_too_few_classes(zoo):
    split = load_zoo(zoo, "image=photo&mask=plain&classes=3").splits["val"]
    with pytest.raises(UserError, match="validation 1.*`plain` holds 3, which stands for none"):
        split[1]


def test_grey_images_become_rgb(zoo):
    image = load_zoo(zoo, "image=grey&mask=plain").splits["train"][1].image
    np.testing.assert_array_equal(image, np.repeat(zoo_image("train", 1)[..., :1], 3, axis=-1))


def test_ids(zoo):
    assert load_zoo(zoo, "image=photo&mask=plain").splits["val"][2].id == "validation_2.png"
    bare = load_zoo(zoo, "image=photo&mask=plain", "bare")
    assert bare.splits["train"][2].id == "train-00002"


def test_validation_comes_before_test(zoo):
    check_zoo(load_zoo(zoo, "image=photo&mask=plain"), {i: i for i in (0, 1, 2, 3, 255)})
    bare = load_zoo(zoo, "image=photo&mask=plain", "bare")
    check_zoo(bare, {i: i for i in (0, 1, 2, 3, 255)}, val="test")


def test_scan(zoo):
    split = load_zoo(zoo, "image=photo&mask=plain").splits["train"]
    masks = np.stack([zoo_mask("train", i) for i in range(3)])
    np.testing.assert_array_equal(split.scan(), np.bincount(masks.ravel(), minlength=256))
    assert split.size(1) == (5, 4)


def test_image_that_is_not_turned(tmp_path):
    """EXIF says a quarter turn; the mask is not turned, and TFDS turns neither."""

    class AdapterTurned(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(), "mask": tfds.features.Image(shape=MAP)}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            file = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(random_image(0, (6, 9))).save(file, "JPEG", exif=exif)
            yield 0, {"image": file.getvalue(), "mask": np.zeros((6, 9, 1), "uint8")}

    MAP = (None, None, 1)
    dataset = load_public("tfds:adapter_turned?image=image&mask=mask", str(tmp_path))
    assert dataset.splits["train"][0].image.shape == (6, 9, 3)
    assert dataset.splits["train"].size(0) == (6, 9)
    assert "val" not in dataset.splits


# Mistakes.


@pytest.mark.parametrize(
    "name, message",
    [
        ("tfds:oxford_iiit_pets", "no data set 'oxford_iiit_pets'; near are oxford_iiit_pet"),
        ("tfds:", "must be tfds:NAME"),
        ("tfds:no such", "must be tfds:NAME.*Received: tfds:no such"),
        ("tfds:huggingface:x/y/z", "must be tfds:NAME"),
        ("tfds:cityscapes/nonsense", "cityscapes/nonsense: .*nonsense not found"),
        ("tfds:oxford_iiit_pet:9.9.9", "oxford_iiit_pet:9.9.9: .*only: 4.0.0"),
        ("tfds:adapter_zoo/full", "which features are image and mask.*possible masks: .*plain"),
        ("tfds:adapter_zoo/full?image=photo", "which features are image and mask"),
        ("tfds:adapter_zoo/full?image=photo&mask=none", "no feature 'none'.*Images: photo, grey"),
        ("tfds:adapter_zoo/full?image=none&mask=plain", "no feature 'none'"),
        ("tfds:adapter_zoo/full?image=photo&mask=picture", "'picture' cannot be the mask"),
        ("tfds:adapter_zoo/full?image=photo&mask=weight", "'weight' cannot be the mask"),
        ("tfds:adapter_zoo/full?image=flat&mask=plain", "'flat' cannot be the image"),
        ("tfds:adapter_zoo/full?image=deep&mask=plain", "'deep' cannot be the image"),
        ("tfds:adapter_zoo/full?image=photo&mask=plain&x=1", "must be image, mask, shift.*'x'"),
        ("tfds:adapter_zoo/full?photo", "must be image, mask, shift"),
        ("tfds:adapter_zoo/full?image=photo&mask=plain&shift=1", "`shift` .* -255 to 0.*'1'"),
        ("tfds:adapter_zoo/full?image=photo&mask=plain&ignore=x", "`ignore` must be a whole"),
        ("tfds:adapter_zoo/full?image=photo&mask=plain&classes=0", "`classes`.*from 1 to 255"),
        ("tfds:adapter_zoo/full?image=photo&mask=plain&shift=-200", "no mask has a labelled"),
        ("tfds:adapter_zoo/nothing?image=photo&mask=plain", "must have a split.*It has extra"),
    ],
)
def test_mistakes_are_said_in_one_line(zoo, name, message):
    with pytest.raises(UserError, match=message) as error:
        load_dataset(name, zoo)
    assert "\n" not in str(error.value)


def test_other_format_is_refused(tmp_path):
    builder = AdapterZoo(data_dir=tmp_path, config="full", file_format="tfrecord")
    builder.download_and_prepare()
    with pytest.raises(UserError, match=f"is prepared in {tmp_path}.* as tfrecord"):
        load_zoo(str(tmp_path), "image=photo&mask=plain")


def test_prepares_what_is_not_there(tmp_path):
    dataset = load_zoo(str(tmp_path), "image=photo&mask=plain&shift=-1")
    check_zoo(dataset, {0: 255, 1: 0, 2: 1, 3: 2, 255: 255})


def test_sizes_that_differ(zoo, monkeypatch):
    split = load_zoo(zoo, "image=photo&mask=plain").splits["train"]
    read = AdaptedSplit.read_mask
    monkeypatch.setattr(AdaptedSplit, "read_mask", lambda self, *args: read(self, *args)[:-1])
    for action in (lambda: split[1], split.scan):
        with pytest.raises(UserError, match=r"one size.*4x5 and 4x4 \(width x height\)"):
            action()
