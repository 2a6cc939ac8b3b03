"""TensorFlow Datasets builder for SBD."""

from pathlib import Path

import numpy as np

from fcn_keras.data.files import masks
from fcn_keras.data.folders.voc_devkit import read_list
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.tfds.builders.downloads import OriginalFile
from fcn_keras.data.tfds.builders.photos import PhotoBuilder
from fcn_keras.errors import UserError

_PATH = "Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz"

RELEASE = OriginalFile(
    name="benchmark.tgz",
    urls=(f"https://www2.eecs.berkeley.edu/{_PATH}", f"https://www.eecs.berkeley.edu/{_PATH}"),
    folder="benchmark_RELEASE/dataset",
    # The second is the file as it comes out where the server's compression is undone on the way.
    digests=("82b4d87ceb2ed10f6038a1cba92111cb", "2b2af8a6cff7365684e002c08be823a6"),
)


def photo_and_mask(dataset: Path, id: str) -> tuple[Path, Path]:
    """Returns where a photo and its label map should be."""
    return dataset / "img" / f"{id}.jpg", dataset / "cls" / f"{id}.mat"


def read_mask(path: Path) -> np.ndarray:
    """Reads a label map, uint8 `(H, W)`; it knows no void."""
    if not path.is_file():
        raise UserError(f"{path}: is missing.")
    return masks.read_mask(path, key="GTcls.Segmentation")


class Builder(PhotoBuilder):
    """Builds SBD in its own splits: `train` with 8498 images and `validation` with 2857.

    Many images of `train` belong to the validation images of VOC; for scores on VOC see
    `pascal_voc_sbd`.

    Each example holds:

    - `"image"`: `uint8` array of shape `(H, W, 3)`, RGB; the original JPEG file in the record.
    - `"label"`: `uint8` array of shape `(H, W, 1)`, a class index per pixel.
    - `"id"`: VOC's name of the photo, such as `"2008_000002"`.

    `builder.info.metadata` holds the class names as `"classes"`, one RGB colour per class as
    `"colors"`, and the label to leave out of losses and metrics as `"ignore_label"`.
    """

    INFO = dict(
        description="""
Semantic Boundaries Dataset: label maps of PASCAL VOC's 20 classes and background for 11355 photos
of VOC 2011. There is no void.
""",
        classes=VOC_CLASSES,
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = "benchmark.tgz, or the folder benchmark_RELEASE that it holds."

    _read_mask = staticmethod(read_mask)

    def _archives(self):
        return [RELEASE]

    def _pairs(self, split, dataset):
        return [photo_and_mask(dataset, id) for id in read_list(dataset / f"{split}.txt")]
