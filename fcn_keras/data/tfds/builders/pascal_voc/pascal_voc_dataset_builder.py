"""TensorFlow Datasets builder for the segmentation part of PASCAL VOC."""

import tensorflow_datasets as tfds

from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders.voc_devkit import VOC_CLASSES, photo_and_mask, read_ids
from fcn_keras.data.tfds.builders.downloads import locate
from fcn_keras.data.tfds.builders.pascal_voc.archives import ARCHIVES
from fcn_keras.data.tfds.builders.photos import photo_examples, photo_info

_DESCRIPTION = """
PASCAL Visual Object Classes: photos with label maps of 20 classes of objects and background. The
borders of the objects, and what was too hard to label, are void (255).
"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds the segmentation part of PASCAL VOC.

    Configurations: "2011", with 1112 images to train on and 1111 to validate; "2012", with 1464
    and 1449. Splits: `train` and `validation`, in the order of VOC's lists.

    Each example holds:

    - `"image"`: `uint8` array of shape `(H, W, 3)`, RGB; VOC's own JPEG file in the record.
    - `"label"`: `uint8` array of shape `(H, W, 1)`, a class index per pixel, or 255 for void.
    - `"id"`: name of the photo, such as `"2007_000032"`.

    `builder.info.metadata` holds the class names as `"classes"`, one RGB colour per class as
    `"colors"`, and the label to leave out of losses and metrics as `"ignore_label"`.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Either VOCtrainval_25-May-2011.tar (2011) or VOCtrainval_11-May-2012.tar (2012), or the folder
    VOCdevkit that it holds.
    """
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=year, description=f"PASCAL VOC {year}.") for year in ARCHIVES
    ]

    def _info(self):
        return photo_info(self, _DESCRIPTION, VOC_CLASSES)

    def _split_generators(self, dl_manager):
        archive = ARCHIVES[self.builder_config.name]
        (root,) = locate(dl_manager, [archive])
        devkit = root / archive.folder
        return {
            "train": self._generate_examples(devkit, "train"),
            "validation": self._generate_examples(devkit, "val"),
        }

    def _generate_examples(self, devkit, split):
        pairs = [photo_and_mask(devkit, id) for id in read_ids(devkit, split)]
        return photo_examples(pairs, read_mask, len(VOC_CLASSES))
