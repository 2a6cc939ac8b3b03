"""TFDS's own data sets of images and masks as `Dataset`s."""

import re
from dataclasses import replace
from difflib import get_close_matches

import numpy as np
import tensorflow_datasets as tfds

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.tfds.builders import downloads as sources
from fcn_keras.data.tfds.own import prepare
from fcn_keras.data.tfds.query import FORM, PREFIX, Adapter, parse_query
from fcn_keras.data.tfds.split import AdaptedSplit
from fcn_keras.errors import UserError

_LONG = 500  # what may be said in one line; some builders' messages hold whole examples

_ID_FEATURES = ("id", "image_id", "file_name", "filename", "image/filename")


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


def _builder(tfds_name, data_dir):
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\w.*]+)?", tfds_name):
        raise UserError(
            f"A data set of TFDS must be {FORM}, where NAME may go on with /CONFIG and :VERSION. "
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
        adapter, options = parse_query(name, query)
    if adapter is None or not (adapter.image and adapter.mask):
        raise UserError(
            f"{name}: which features are image and mask? Give {FORM}. {_there(features)}"
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
