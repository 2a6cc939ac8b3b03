"""TFDS's own data sets of images and masks as `Dataset`s."""

import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from urllib.parse import parse_qsl

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from fcn_keras.data import sources
from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, Example
from fcn_keras.data.tfds_source import prepare
from fcn_keras.errors import UserError
from fcn_keras.palette import voc_palette

PREFIX = "tfds:"

_FORM = "tfds:NAME?image=FEATURE&mask=FEATURE"
_OPTIONS = ("image", "mask", "shift", "ignore", "classes")
_LONG = 500  # what may be said in one line; some builders' messages hold whole examples
_ID_FEATURES = ("id", "image_id", "file_name", "filename", "image/filename")


@dataclass(frozen=True)
class Adapter:
    """How to read a data set of TFDS.

    Attributes:
        image, mask: names of the features.
        classes: class names; empty if nobody knows them.
        colors: RGB colours of the classes; those of VOC if empty.
        ids: class id, or 255, for each value that a mask may hold; -1 where a value has no
            meaning.
    """

    image: str
    mask: str
    classes: Sequence[str] = ()
    colors: Sequence[tuple[int, int, int]] = ()
    ids: np.ndarray = field(default=None, repr=False)


def _table(values, size):
    ids = np.full(size, -1, "int16")
    for value, class_id in values.items():
        ids[value] = class_id
    return ids


_CITYSCAPES = {
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}

ADAPTERS = {
    # The border between pet and background is nobody's: void.
    "oxford_iiit_pet": Adapter(
        image="image",
        mask="segmentation_mask",
        classes=("background", "pet"),
        ids=_table({1: 1, 2: 0, 3: IGNORE_LABEL}, 4),
    ),
    # Its masks hold ids; the 19 that are evaluated become train ids.
    "cityscapes": Adapter(
        image="image_left",
        mask="segmentation_label",
        classes=tuple(name for name, _ in _CITYSCAPES.values()),
        colors=tuple(color for _, color in _CITYSCAPES.values()),
        ids=_table(
            dict.fromkeys(range(256), IGNORE_LABEL)
            | {value: class_id for class_id, value in enumerate(_CITYSCAPES)},
            256,
        ),
    ),
}


def load_adapted(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Dataset:
    """Opens a data set of TFDS; prepares it the first time.

    Known by name are "tfds:oxford_iiit_pet" (background, pet; the border is void) and
    "tfds:cityscapes" (19 classes). For any other the name tells where image and mask are:
    "tfds:NAME?image=FEATURE&mask=FEATURE". NAME may go on with "/CONFIG" and ":VERSION". Further:

    - `&shift=-1`: what is added to the values of a mask; those that become negative are void.
    - `&ignore=V`: a value of the mask, before the shift, that is void. 255 always is, unless the
      feature has a class for it.
    - `&classes=N`: how many classes there are. If not given, the feature's metadata tells, or
      else all masks are read to count them.

    The splits are "train", and as "val" the first there is of validation, val and test.

    Args:
        name: "tfds:" and so on.
        data_dir: where prepared sets are kept; TFDS's own default if not given.
        manual_dir: where files lie that were fetched by hand; `downloads/manual` in `data_dir`
            if not given.

    Returns:
        A `Dataset`.

    Raises:
        UserError: if there is no such data set or feature, it is not prepared yet and its files
            cannot be had, or it is prepared in a format that cannot be read by number.

    Example:

    >>> load_adapted("tfds:oxford_iiit_pet").classes
    ('background', 'pet')
    """
    tfds_name, _, query = str(name).removeprefix(PREFIX).partition("?")
    builder = _builder(tfds_name, data_dir)
    adapter, options = _adapter(name, builder, query)
    _prepare(name, builder, manual_dir)
    _check_format(name, builder)
    splits = _open_splits(name, builder, adapter)
    if adapter.ids is None:
        adapter = _with_classes(name, builder.info.features[adapter.mask], adapter, options, splits)
    colors = adapter.colors or voc_palette(len(adapter.classes)).tolist()
    return Dataset(
        name=builder.name,
        classes=tuple(adapter.classes),
        colors=tuple(tuple(color) for color in colors),
        splits={
            split: replace(examples, ids=adapter.ids, num_classes=len(adapter.classes))
            for split, examples in splits.items()
        },
    )


@dataclass(frozen=True)
class AdaptedSplit:
    """A split of a TFDS data set, with images and masks as they were stored.

    Attributes:
        source: what TFDS reads, without decoding images.
        name: what the split is called in messages.
        image, mask, id: names of the features; `id` is empty if there is none.
        ids: see `Adapter`.
        num_classes: how many classes there are.
    """

    source: object = field(repr=False)
    name: str
    image: str
    mask: str
    id: str
    ids: np.ndarray | None = field(default=None, repr=False)
    num_classes: int = 0

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        example = self.source[index]
        with self._opened(index, example[self.image]) as image:
            image.info.pop("transparency", None)
            pixels = np.asarray(image.convert("RGB"))
        label = self._label(index, example)
        self._check_sizes(index, pixels.shape[:2], label.shape[:2])
        id = example[self.id].decode() if self.id else f"{self.name.split()[-1]}-{index:05d}"
        return Example(pixels, label, id)

    def size(self, index):
        return self._size(index, self.source[index])

    def scan(self) -> np.ndarray:
        """Checks every mask and the size of every image.

        Returns:
            An int64 array `(256,)`: how many pixels each class has, and void at 255.

        Raises:
            UserError: at the first that is wrong.
        """
        counts = np.zeros(256, "int64")
        for index in tqdm(range(len(self)), "checking", delay=2, unit="image"):
            example = self.source[index]
            label = self._label(index, example)
            self._check_sizes(index, self._size(index, example), label.shape[:2])
            counts += np.bincount(label.ravel(), minlength=256)
        return counts

    def values(self) -> set[int]:
        """Returns which values occur in the masks."""
        found = set()
        for index in tqdm(range(len(self)), "counting classes", delay=2, unit="mask"):
            found.update(np.unique(self.read_mask(index, self.source[index])).tolist())
        return found

    def read_mask(self, index, example):
        """Returns a mask as it is stored, `(H, W)`."""
        mask = example[self.mask]
        if isinstance(mask, bytes):
            with self._opened(index, mask) as image:
                mask = np.asarray(image)
        mask = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
        if mask.ndim != 2:
            raise UserError(
                f"{self.name} {index}: `{self.mask}` must be a map of class ids, (height, width). "
                f"Received: {mask.shape}."
            )
        return mask.astype("int64")

    def _label(self, index, example):
        mask = self.read_mask(index, example)
        inside = (mask >= 0) & (mask < len(self.ids))
        label = np.where(inside, self.ids[np.where(inside, mask, 0)], -1)
        if (label < 0).any():
            raise UserError(
                f"{self.name} {index}: `{self.mask}` holds {mask[label < 0][0]}, which stands for "
                f"none of the {self.num_classes} classes ({np.count_nonzero(label < 0)} pixels "
                "without a class in all)."
            )
        return label.astype("uint8")[..., None]

    def _size(self, index, example):
        with self._opened(index, example[self.image]) as image:
            return image.height, image.width

    def _check_sizes(self, index, image, mask):
        if tuple(image) != tuple(mask):
            raise UserError(
                f"{self.name} {index}: an image and its mask must have one size. Received: "
                f"{image[1]}x{image[0]} and {mask[1]}x{mask[0]} (width x height)."
            )

    @contextmanager
    def _opened(self, index, contents):
        """Opens an image, not upright: TFDS does not turn any, nor were the masks turned."""
        try:
            with Image.open(io.BytesIO(contents)) as image:
                yield image
        # Pillow's decoders raise SyntaxError and ValueError too where a file is broken.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.name} {index}: cannot be read as an image.") from error


def _builder(tfds_name, data_dir):
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\w.*]+)?", tfds_name):
        raise UserError(
            f"A data set of TFDS must be {_FORM}, where NAME may go on with /CONFIG and :VERSION. "
            f"Received: {PREFIX}{tfds_name}."
        )
    try:
        return tfds.builder(tfds_name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        near = get_close_matches(tfds_name, tfds.list_builders(with_community_datasets=False))
        hint = f"; near are {', '.join(near)}" if near else ""
        raise UserError(f"TFDS has no data set {tfds_name!r}{hint}.") from error
    except Exception as error:  # of many kinds, from whatever the builder does
        raise UserError(f"{PREFIX}{tfds_name}: {_one_line(error)}") from error


def _adapter(name, builder, query):
    """Returns where to find image and mask, and the options of the name."""
    features = builder.info.features
    adapter, options = ADAPTERS.get(builder.name), {}
    if query:
        adapter, options = _parse(name, query)
    if adapter is None or not (adapter.image and adapter.mask):
        raise UserError(
            f"{name}: which features are image and mask? Give {_FORM}. {_there(features)}"
        )
    fits = {"image": _is_picture, "mask": _is_map}
    for role, feature in (("image", adapter.image), ("mask", adapter.mask)):
        if feature not in features:
            raise UserError(f"{name}: has no feature {feature!r}. {_there(features)}")
        if not fits[role](features[feature]):
            raise UserError(
                f"{name}: {feature!r} cannot be the {role}; it is {features[feature]!r}. "
                f"{_there(features)}"
            )
    return adapter, options


def _parse(name, query):
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = set(options) - set(_OPTIONS)
    if unknown or not options:
        raise UserError(
            f"{name}: what follows the question mark must be {', '.join(_OPTIONS)}, such as "
            f"image=FEATURE&mask=FEATURE. Received: {min(unknown, default=query)!r}."
        )
    ranges = {"shift": (-255, 0), "ignore": (0, 65535), "classes": (1, 255)}
    numbers = {}
    for option, (low, high) in ranges.items():
        if option in options:
            text = options[option]
            if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
                raise UserError(
                    f"{name}: `{option}` must be a whole number from {low} to {high}. "
                    f"Received: {text!r}."
                )
            numbers[option] = int(text)
    return Adapter(options.get("image", ""), options.get("mask", "")), numbers


def _is_picture(feature):
    return (
        isinstance(feature, tfds.features.Image)
        and len(feature.shape) == 3
        and feature.shape[2] in (1, 3, 4)
        and feature.np_dtype == np.uint8
    )


def _is_map(feature):
    shape = getattr(feature, "shape", None) or ()
    return (
        isinstance(feature, tfds.features.Tensor | tfds.features.Image)
        and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 1))
        and np.issubdtype(feature.np_dtype, np.integer)
    )


def _there(features):
    pictures = [name for name, feature in features.items() if _is_picture(feature)]
    maps = [name for name, feature in features.items() if _is_map(feature)]
    return f"Images: {', '.join(pictures) or 'none'}; possible masks: {', '.join(maps) or 'none'}."


def _prepare(name, builder, manual_dir):
    if builder.is_prepared():
        return
    # Array records can be read by number, which shuffling and resuming rest on.
    builder.info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD, override=True)
    _ask_before_fetching(name, builder)
    try:
        prepare(builder, manual_dir)
    except UserError:
        raise
    except Exception as error:  # of many kinds, from whatever the builder does
        raise UserError(f"{name}: cannot be prepared. {_one_line(error)}") from error


def _ask_before_fetching(name, builder):
    """Makes the builder look whether a host answers; TFDS would try for minutes if none does."""
    make = builder._make_download_manager

    def made(**kwargs):
        manager = make(**kwargs)
        fetch = manager._download

        def download(resource):
            fault = sources.faults_of([resource.url])[resource.url]
            if fault:
                files = {url: info.filename for url, info in (builder.url_infos or {}).items()}
                wanted = "; ".join(f"{files[url]} from {url}" for url in files)
                advice = f" Put into {manager._manual_dir}: {wanted}." if wanted else ""
                raise UserError(f"{name}: {resource.url} does not answer ({fault}).{advice}")
            return fetch(resource)

        manager._download = download
        return manager

    builder._make_download_manager = made


def _check_format(name, builder):
    formats = builder.info.available_file_formats()
    if not formats & tfds.core.FileFormat.with_random_access():
        raise UserError(
            f"{name}: is prepared in {builder.data_dir} as {builder.info.file_format.value}, which "
            "cannot be read by number. Give another data directory, or remove that one."
        )


def _open_splits(name, builder, adapter):
    features = builder.info.features
    decoders = {
        feature: tfds.decode.SkipDecoding()
        for feature, kind in features.items()
        if isinstance(kind, tfds.features.Image)
    }
    texts = [key for key, kind in features.items() if isinstance(kind, tfds.features.Text)]
    id = next((key for key in _ID_FEATURES if key in texts), "")
    there = [*builder.info.splits]
    wanted = {
        "train": [split for split in ("train",) if split in there],
        "val": [split for split in ("validation", "val", "test") if split in there],
    }
    if not any(wanted.values()):
        raise UserError(
            f"{name}: must have a split train, validation, val or test. It has {', '.join(there)}."
        )
    return {
        ours: AdaptedSplit(
            builder.as_data_source(theirs[0], decoders=decoders),
            f"{builder.name} {theirs[0]}",
            adapter.image,
            adapter.mask,
            id,
        )
        for ours, theirs in wanted.items()
        if theirs
    }


def _with_classes(name, feature, adapter, options, splits):
    """Completes an adapter by its classes, from the feature or by counting."""
    shift, ignore = options.get("shift", 0), options.get("ignore")
    names = []
    if isinstance(feature, tfds.features.LabeledImage) and feature.num_classes:
        names = feature.names[-shift:]
        if ignore is not None and ignore + shift == len(names) - 1:
            names = names[:-1]
    count = options.get("classes") or len(names) or _count(name, splits, shift, ignore)
    if len(names) != count:
        names = [f"class_{i}" for i in range(count)]
    if count > IGNORE_LABEL:
        raise UserError(f"{name}: there may be at most {IGNORE_LABEL} classes, not {count}.")
    values = dict.fromkeys(range(-shift), IGNORE_LABEL)
    values |= {IGNORE_LABEL: IGNORE_LABEL} | {i - shift: i for i in range(count)}
    if ignore is not None:
        values[ignore] = IGNORE_LABEL
    return replace(adapter, classes=names, ids=_table(values, max(values) + 1))


def _count(name, splits, shift, ignore):
    values = set().union(*(split.values() for split in splits.values()))
    values -= {ignore, IGNORE_LABEL}
    highest = max(values, default=-1) + shift
    if highest < 0:
        raise UserError(f"{name}: no mask has a labelled pixel.")
    return highest + 1


def _one_line(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONG else f"{text[:_LONG]} ..."
