"""The data sets of images and masks that TFDS itself has."""

import re
from dataclasses import replace
from difflib import get_close_matches

import numpy as np
import tensorflow_datasets as tfds

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.tfds.adapters import ADAPTERS, FORM, PREFIX, Adapter, id_table, parse_query
from fcn_keras.data.tfds.builders import downloads
from fcn_keras.data.tfds.own import FORMAT, prepare
from fcn_keras.data.tfds.split import AdaptedSplit
from fcn_keras.errors import UserError
from fcn_keras.system.plain_path import plain_path

_LONG = 500  # what may be said in one line; some builders' messages hold whole examples

_ID_FEATURES = ("id", "image_id", "file_name", "filename", "image/filename")


def load_public(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Dataset:
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
        data_dir, manual_dir: see `fcn_keras.load_dataset`.

    Raises:
        UserError: if there is no such data set or feature, it is not prepared yet and its files
            cannot be had, or it is prepared in a format that cannot be read by number.

    Example:

    >>> load_public("tfds:oxford_iiit_pet").classes
    ('background', 'pet')
    """
    tfds_name, _, query = str(name).removeprefix(PREFIX).partition("?")
    builder = _builder(tfds_name, data_dir)
    adapter, options = _adapter(name, builder, query)
    _prepare(name, builder, manual_dir)
    if not builder.info.available_file_formats() & tfds.core.FileFormat.with_random_access():
        raise UserError(
            f"{name}: is prepared in {builder.data_dir} as {builder.info.file_format.value}, which "
            "cannot be read by number. Give another data directory, or remove that one."
        )
    splits = _open_splits(name, builder, adapter)
    if adapter.ids is None:
        adapter = _with_classes(name, builder, adapter, options, splits)
    colors = adapter.colors or voc_palette(len(adapter.classes)).tolist()
    return Dataset(
        name=builder.name,
        classes=adapter.classes,
        colors=tuple(tuple(color) for color in colors),
        splits={name: replace(split, adapter=adapter) for name, split in splits.items()},
    )


def _builder(tfds_name, data_dir):
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\w.*]+)?", tfds_name):
        raise UserError(
            f"A data set of TFDS must be {FORM}, where NAME may go on with /CONFIG and :VERSION. "
            f"Received: {PREFIX}{tfds_name}."
        )
    try:
        return tfds.builder(tfds_name, data_dir=data_dir and plain_path(data_dir))
    except tfds.core.DatasetNotFoundError as error:
        near = get_close_matches(tfds_name, tfds.list_builders(with_community_datasets=False))
        hint = f"; near are {', '.join(near)}" if near else ""
        raise UserError(f"TFDS has no data set {tfds_name!r}{hint}.") from error
    # A builder is its authors' code, which may raise anything.
    except Exception as error:
        raise UserError(f"{PREFIX}{tfds_name}: {_one_line(error)}") from error


def _adapter(name, builder, query):
    """Returns where to find image and mask, and the options of the name."""
    features = builder.info.features
    adapter, options = ADAPTERS.get(builder.name, Adapter("", "")), {}
    if query:
        image, mask, options = parse_query(name, query)
        adapter = Adapter(image, mask)
    if not (adapter.image and adapter.mask):
        raise UserError(
            f"{name}: which features are image and mask? Give {FORM}. {_there(features)}"
        )
    for role, feature, fits in (
        ("image", adapter.image, _is_picture),
        ("mask", adapter.mask, _is_map),
    ):
        if feature not in features:
            raise UserError(f"{name}: has no feature {feature!r}. {_there(features)}")
        if not fits(features[feature]):
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
    builder.info.set_file_format(FORMAT, override=True)
    _ask_before_fetching(name, builder)
    try:
        prepare(builder, manual_dir)
    except UserError:
        raise
    # As above: anything.
    except Exception as error:
        raise UserError(f"{name}: cannot be prepared. {_one_line(error)}") from error


def _ask_before_fetching(name, builder):
    """Makes a builder look whether a host answers; TFDS would try for minutes if none does."""
    make = builder._make_download_manager

    def made(**kwargs):
        manager = make(**kwargs)
        fetch = manager._download

        def download(resource):
            fault = downloads.faults_of([resource.url])[resource.url]
            if fault:
                wanted = "; ".join(
                    f"{info.filename} from {url}" for url, info in (builder.url_infos or {}).items()
                )
                advice = f" Put into {manager._manual_dir}: {wanted}." if wanted else ""
                raise UserError(f"{name}: {resource.url} does not answer ({fault}).{advice}")
            return fetch(resource)

        manager._download = download
        return manager

    builder._make_download_manager = made


def _open_splits(name, builder, adapter):
    features = builder.info.features
    decoders = {
        feature: tfds.decode.SkipDecoding()
        for feature, kind in features.items()
        if isinstance(kind, tfds.features.Image)
    }
    texts = [key for key, kind in features.items() if isinstance(kind, tfds.features.Text)]
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
            next((key for key in _ID_FEATURES if key in texts), ""),
            adapter,
        )
        for ours, theirs in wanted.items()
        if theirs
    }


def _with_classes(name, builder, adapter, options, splits):
    feature = builder.info.features[adapter.mask]
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
    values = dict.fromkeys([*range(-shift), IGNORE_LABEL], IGNORE_LABEL)
    values |= {i - shift: i for i in range(count)}
    if ignore is not None:
        values[ignore] = IGNORE_LABEL
    return replace(adapter, classes=tuple(names), ids=id_table(values))


def _count(name, splits, shift, ignore):
    values = set().union(*(split.values() for split in splits.values())) - {ignore, IGNORE_LABEL}
    highest = max(values, default=-1) + shift
    if highest < 0:
        raise UserError(f"{name}: no mask has a labelled pixel.")
    return highest + 1


def _one_line(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONG else f"{text[:_LONG]} ..."
