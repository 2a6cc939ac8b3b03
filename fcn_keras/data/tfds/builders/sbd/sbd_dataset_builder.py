"""TensorFlow Datasets builder for SBD."""

import tensorflow_datasets as tfds

from fcn_keras.data.folders.voc_devkit import VOC_CLASSES
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.tfds.builders.downloads import locate
from fcn_keras.data.tfds.builders.photos import photo_example, photo_info
from fcn_keras.data.tfds.builders.sbd.release import (
    RELEASE,
    mask_path,
    photo_path,
    read_ids,
    read_mask,
)

_DESCRIPTION = """
Semantic Boundaries Dataset: label maps of PASCAL VOC's 20 classes and background for 11355 photos
of VOC 2011. There is no void.
"""


class Builder(tfds.core.GeneratorBasedBuilder):
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

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "benchmark.tgz, or the folder benchmark_RELEASE that it holds."

    def _info(self):
        return photo_info(self, _DESCRIPTION, VOC_CLASSES, voc_palette(len(VOC_CLASSES)).tolist())

    def _split_generators(self, dl_manager):
        (root,) = locate(dl_manager, [RELEASE])
        dataset = root / RELEASE.folder
        return {
            "train": self._generate_examples(dataset, "train"),
            "validation": self._generate_examples(dataset, "val"),
        }

    def _generate_examples(self, dataset, split):
        for index, id in enumerate(read_ids(dataset, split)):
            mask = mask_path(dataset, id)
            yield (
                index,
                photo_example(photo_path(dataset, id), mask, read_mask(mask), len(VOC_CLASSES)),
            )
