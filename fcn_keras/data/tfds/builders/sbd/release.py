"""The layout of SBD's release, and where it comes from."""

from pathlib import Path

import numpy as np

from fcn_keras.data.files import masks
from fcn_keras.data.folders.voc_devkit import read_list
from fcn_keras.data.tfds.builders.downloads import OriginalFile
from fcn_keras.errors import UserError

_PATH = "Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz"

RELEASE = OriginalFile(
    name="benchmark.tgz",
    urls=(f"https://www2.eecs.berkeley.edu/{_PATH}", f"https://www.eecs.berkeley.edu/{_PATH}"),
    folder="benchmark_RELEASE/dataset",
    # The second is the file as it comes out where the server's compression is undone on the way.
    digests=("82b4d87ceb2ed10f6038a1cba92111cb", "2b2af8a6cff7365684e002c08be823a6"),
)


def read_ids(dataset: Path, split: str) -> list[str]:
    """Reads which images belong to "train" or "val", in the order of the list."""
    return read_list(dataset / f"{split}.txt")


def photo_and_mask(dataset: Path, id: str) -> tuple[Path, Path]:
    """Returns where a photo and its label map should be."""
    return dataset / "img" / f"{id}.jpg", dataset / "cls" / f"{id}.mat"


def read_mask(path: Path) -> np.ndarray:
    """Reads a label map, uint8 `(H, W)`; it knows no void."""
    if not path.is_file():
        raise UserError(f"{path}: is missing.")
    return masks.read_mask(path, key="GTcls.Segmentation")
