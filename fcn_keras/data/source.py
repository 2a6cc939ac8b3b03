"""A data set as training and scoring take it: opened, and refused if anything is wrong with it."""

import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fcn_keras.data.catalog import is_path
from fcn_keras.data.dataset import Dataset
from fcn_keras.data.files.readers import AsStored, ImageReader
from fcn_keras.data.findings import KINDS, SHOWN, Contents, Inspection, listed
from fcn_keras.data.folders.folder import Folder, find_folder
from fcn_keras.data.inspection import inspect_folder
from fcn_keras.data.judging import judge_classes
from fcn_keras.data.registry import load_dataset
from fcn_keras.errors import UserError
from fcn_keras.system.spelling import spelled_as_found


class Source:
    """A data set by its name, to be checked before it is used.

    Args:
        name: see `fcn_keras.data.registry.load_dataset`.
        val_share: see `fcn_keras.data.folders.folder.load_folder`; for folders alone.
        images: how they are to be read, see `fcn_keras.data.folders.folder.find_folder`; what is no
            folder must have such images.
        data_dir, manual_dir: see `fcn_keras.data.registry.load_dataset`.

    Raises:
        UserError: if there is no such data set.
    """

    def __init__(
        self,
        name: str | Path,
        val_share: float | None = None,
        images: ImageReader | None = None,
        data_dir: str | None = None,
        manual_dir: str | None = None,
    ):
        self.name = str(name)
        path = spelled_as_found(self.name)
        self._found: Dataset | Folder
        if is_path(name) and Path(path).is_dir():
            self._found = find_folder(path, val_share, images)
        else:
            self._found = load_dataset(name, data_dir, manual_dir)
            if val_share is not None:
                raise UserError(
                    f"`val_share`: is for a folder without splits, not for {self.name}."
                )
            if images is not None:
                _check_images(self._found, images, self.name)
        self._counts: dict[str, np.ndarray] | None = None

    @property
    def dataset(self) -> Dataset:
        """The data set.

        Raises:
            UserError: see `check`; of a folder whose classes are known, by the names of its files
                alone.
        """
        if isinstance(self._found, Dataset):
            return self._found
        if self._found.description.classes:
            try:
                return self._found.dataset()
            except UserError:
                self.check()  # which tells of all
        else:
            self.check()
        return self._found.dataset()

    def check(self, splits: Collection[str] = ()) -> dict[str, np.ndarray]:
        """Reads all label maps, and looks at all images, before work starts.

        Prints to standard error what may not be meant.

        Args:
            splits: the splits that matter; all if not given.

        Returns:
            For each split how many pixels each class has, and void at 255: int64 `(256,)`; of
            several label maps for the first.

        Raises:
            UserError: if anything is wrong with it; lists all that is.
        """
        if self._counts is None:
            if isinstance(self._found, Dataset):
                inspection = _counted(self._found, splits)
            else:
                inspection, self._found = inspect_folder(self._found, images_of=splits)
            for line in _warnings(inspection.warnings):
                print(f"warning: {line}", file=sys.stderr, flush=True)
            concerned = {"", *(splits or inspection.splits)}
            faults = [fault for fault in inspection.faults if fault.split in concerned]
            if faults:
                raise UserError(_told(self.name, faults))
            self._counts = {name: held.pixels[0] for name, held in inspection.splits.items()}
        return self._counts


def _check_images(dataset, images, name):
    """Refuses a data set that is no folder, and has other images than are wanted."""
    if isinstance(images, AsStored) and images.dtype is None:
        raise UserError(f"`channels`: is for a folder, not for {name}.")
    image = next(iter(dataset.splits.values()))[0].image
    found = AsStored(image.shape[-1], image.dtype.name)
    wanted = images if isinstance(images, AsStored) else AsStored(3, "uint8")
    if found != wanted:
        raise UserError(f"{name}: its images have {found}, and {wanted} are wanted.")


def _counted(dataset, splits):
    """An inspection of a data set that is no folder: its builder has looked at the files."""
    names = splits or [name for name in ("train", "val") if name in dataset.splits]
    heads = dict(dataset.heads) or {"": dataset.classes}
    inspection = Inspection(dataset.name, heads, dataset.colors, {}, [])
    for name in names:
        split = dataset.splits[name]
        inspection.splits[name] = Contents(images=len(split), pixels=[split.scan()])
    if not dataset.heads and len(inspection.splits) == len(dataset.splits):
        judge_classes(inspection, dataset.name, named=True)
    return inspection


def _warnings(warnings):
    """The warnings as lines; of very many of a kind, the first ones."""
    counts: Counter[str] = Counter()
    for warning in warnings:
        counts[warning.kind] += 1
        if counts[warning.kind] <= SHOWN:
            yield f"{warning.file}: {warning.text}"
    for kind, count in counts.items():
        if count > SHOWN:
            yield f"{KINDS[kind].what}: {count - SHOWN} more (`data check --json` lists all)"


def _told(name, faults):
    if len(faults) == 1:
        return f"{faults[0].file}: {faults[0].text}."
    return "\n".join([f"{name}: {len(faults)} faults, as `data check` lists:", *listed(faults)])
