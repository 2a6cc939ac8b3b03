"""TensorFlow Datasets builder for SBD."""

import tensorflow_datasets as tfds

from fcn_keras.data.folders.voc_devkit import VOC_CLASSES
from fcn_keras.data.tfds.builders.downloads import locate
from fcn_keras.data.tfds.builders.photos import photo_examples, photo_info
from fcn_keras.data.tfds.builders.sbd import release

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
    MANUAL_DOWNLOAD_INSTRUCTIONS = "benchmark.tgz, or the folder benchmark_RELEASE that it holds."

    def _info(self):
        return photo_info(self, _DESCRIPTION, VOC_CLASSES)

    def _split_generators(self, dl_manager):
        (root,) = locate(dl_manager, [release.RELEASE])
        dataset = root / release.RELEASE.folder
        return {
            "train": self._generate_examples(dataset, "train"),
            "validation": self._generate_examples(dataset, "val"),
        }

    def _generate_examples(self, dataset, split):
        pairs = [release.photo_and_mask(dataset, id) for id in release.read_ids(dataset, split)]
        return photo_examples(pairs, release.read_mask, len(VOC_CLASSES))
