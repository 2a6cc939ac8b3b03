"""TFDS data sets as `Dataset`s: prepared once on disk, then read by number."""

import io
import sys
from contextlib import redirect_stdout
from importlib import import_module

import tensorflow_datasets as tfds

from fcn_keras.data.catalog import DATASETS
from fcn_keras.data.dataset import Dataset
from fcn_keras.data.tfds.split import TfdsSplit

# TFDS's names of splits -> ours, where they differ.
SPLITS = {"validation": "val"}


def load_tfds(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Dataset:
    """Opens a data set that this package builds with TFDS; prepares it the first time.

    Args:
        name: a registered name, see `fcn_keras.data.catalog.DATASETS`.
        data_dir: where prepared sets are kept; TFDS's own default if not given.
        manual_dir: where files lie that were fetched by hand; `downloads/manual` in `data_dir`
            if not given.

    Returns:
        A `Dataset`.

    Raises:
        UserError: if it is not prepared yet, and its files cannot be had.
    """
    folder, config, *_ = DATASETS[name]
    module = import_module(f"fcn_keras.data.tfds.builders.{folder}.{folder}_dataset_builder")
    # Array records can be read by number, which shuffling and resuming rest on.
    builder = module.Builder(
        data_dir=data_dir, config=config, file_format=tfds.core.FileFormat.ARRAY_RECORD
    )
    prepare(builder, manual_dir)
    about = builder.info.metadata
    return Dataset(
        name=name,
        classes=tuple(about["classes"]),
        colors=tuple(tuple(color) for color in about["colors"]),
        splits={
            SPLITS.get(split, split): TfdsSplit(
                builder.as_data_source(split, decoders=_decoders(builder))
            )
            for split in builder.info.splits
        },
        heads=dict(about.get("heads", {})),
    )


def prepare(builder: tfds.core.DatasetBuilder, manual_dir: str | None) -> None:
    """Writes the records of a data set, unless that was done before."""
    if builder.is_prepared():
        return
    print(f"preparing the data set {builder.name}, once, in {builder.data_dir}", flush=True)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # TFDS announces a download even where there is none.
    with redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=manual_dir, try_download_gcs=False
            )
        )


def _decoders(builder):
    """Leaves JPEG to `read_image`: what TFDS makes of it depends on what else is installed."""
    if getattr(builder.info.features["image"], "encoding_format", None) != "jpeg":
        return None
    return {"image": tfds.decode.SkipDecoding()}
