"""The data sets that this package builds with TFDS: prepared once on disk, then read by number."""

import io
import sys
from contextlib import redirect_stdout
from importlib import import_module

import tensorflow_datasets as tfds

from fcn_keras.data.catalog import DATASETS
from fcn_keras.data.dataset import Dataset
from fcn_keras.data.tfds.split import TfdsSplit
from fcn_keras.system.plain_path import plain_path

# It can be read by number, which shuffling and resuming rest on.
FORMAT = tfds.core.FileFormat.ARRAY_RECORD


def load_own(name: str, data_dir: str | None = None, manual_dir: str | None = None) -> Dataset:
    """Opens a data set that this package builds; prepares it the first time.

    Args:
        name: a registered name, see `fcn_keras.data.catalog.DATASETS`.
        data_dir, manual_dir: see `fcn_keras.load_dataset`.

    Raises:
        UserError: if it is not prepared yet, and its files cannot be had.
    """
    folder, config, *_ = DATASETS[name]
    module = import_module(f"fcn_keras.data.tfds.builders.{folder}.{folder}_dataset_builder")
    builder = module.Builder(
        data_dir=data_dir and plain_path(data_dir), config=config, file_format=FORMAT
    )
    prepare(builder, manual_dir)
    # JPEG is left to `read_image`: what TFDS makes of it depends on what else is installed.
    is_jpeg = getattr(builder.info.features["image"], "encoding_format", None) == "jpeg"
    decoders = {"image": tfds.decode.SkipDecoding()} if is_jpeg else None
    metadata = builder.info.metadata
    return Dataset(
        name=name,
        classes=tuple(metadata["classes"]),
        colors=tuple(tuple(color) for color in metadata["colors"]),
        splits={
            split.replace("validation", "val"): TfdsSplit(
                builder.as_data_source(split, decoders=decoders)
            )
            for split in builder.info.splits
        },
        heads=dict(metadata.get("heads", {})),
    )


def prepare(builder: tfds.core.DatasetBuilder, manual_dir: str | None) -> None:
    """Writes the records of a data set, unless that was done before.

    Args:
        builder: the builder of the data set.
        manual_dir: where files lie that were fetched by hand; TFDS's own default if not given.
    """
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
