"""Data sets of TFDS's written to disk, once."""

import io
import sys
from contextlib import redirect_stdout

import tensorflow_datasets as tfds

from fcn_keras.data.tfds.builders import downloads
from fcn_keras.errors import UserError

# It can be read by number, which shuffling and resuming rest on.
FORMAT = tfds.core.FileFormat.ARRAY_RECORD


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


def ask_before_fetching(name: str, builder: tfds.core.DatasetBuilder) -> None:
    """Makes a builder look whether a host answers; TFDS would try for minutes if none does.

    Args:
        name: what the data set is called in messages.
        builder: the builder, which raises a `UserError` from now on where none does.
    """
    make = builder._make_download_manager

    def made(**kwargs):
        manager = make(**kwargs)
        fetch = manager._download

        def download(resource):
            fault = downloads.faults_of([resource.url])[resource.url]
            if fault:
                files = {url: info.filename for url, info in (builder.url_infos or {}).items()}
                wanted = "; ".join(f"{files[url]} from {url}" for url in files)
                advice = f" Put into {manager._manual_dir}: {wanted}." if wanted else ""
                raise UserError(f"{name}: {resource.url} does not answer ({fault}).{advice}")
            return fetch(resource)

        manager._download = download
        return manager

    builder._make_download_manager = made
