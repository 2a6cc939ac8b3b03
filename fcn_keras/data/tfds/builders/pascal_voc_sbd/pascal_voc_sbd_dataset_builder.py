"""TensorFlow Datasets builder for PASCAL VOC with the labels of SBD."""

import hashlib

import tensorflow_datasets as tfds

from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders.voc_devkit import photo_and_mask, read_ids, read_list
from fcn_keras.data.known_classes import VOC_CLASSES
from fcn_keras.data.tfds.builders.pascal_voc.pascal_voc_dataset_builder import ARCHIVES
from fcn_keras.data.tfds.builders.photos import PhotoBuilder
from fcn_keras.data.tfds.builders.sbd import sbd_dataset_builder as sbd
from fcn_keras.errors import UserError


class Builder(PhotoBuilder):
    """Builds PASCAL VOC extended by SBD. Both configurations score on nothing they train on.

    "2011" is what the reference trains and scores on: `train` is SBD's own, 8498 images with
    SBD's label maps, also where VOC has one too; `validation` is seg11valid, the 736 images of
    VOC 2011's `val` that are not in it, with VOC's label maps. Sorted, their ids have a published
    digest, which is checked.

    "2012" is what later work calls trainaug: `train` is VOC 2012's `train` with VOC's label maps,
    then the images of SBD's `train` and `val` that are in neither list of VOC 2012, with SBD's:
    10582 images. `validation` is VOC 2012's `val`, 1449 images.

    SBD's label maps know no void; in VOC's, the borders of objects are void.

    Each example holds:

    - `"image"`: `uint8` array of shape `(H, W, 3)`, RGB; the original JPEG file in the record.
    - `"label"`: `uint8` array of shape `(H, W, 1)`, a class index per pixel, or 255 for void.
    - `"id"`: name of the photo, such as `"2007_000032"`.

    `builder.info.metadata` holds the class names as `"classes"`, one RGB colour per class as
    `"colors"`, and the label to leave out of losses and metrics as `"ignore_label"`.

    Reference: section 4 and footnote 7 of the CVPR paper; `data/pascal` of its code.
    """

    INFO = dict(
        description="""
PASCAL VOC's photos with label maps of 20 classes of objects and background, of which SBD drew most.
In VOC's own label maps, the borders of objects are void (255).
""",
        classes=VOC_CLASSES,
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    VOCtrainval_25-May-2011.tar (2011) or VOCtrainval_11-May-2012.tar (2012), or the folder
    VOCdevkit that it holds; and benchmark.tgz, or the folder benchmark_RELEASE that it holds.
    """
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="2011", description="SBD's train; seg11valid."),
        tfds.core.BuilderConfig(name="2012", description="VOC 2012's trainaug and val."),
    ]

    # Of the reference's data/pascal/seg11valid.txt: each id with a line feed.
    SEG11VALID_SHA256 = "4ca991bd72c251fd2485eaa9e29536502ea3800d1b1c17c151fd6a04bcfbc2cc"

    def _archives(self):
        return [ARCHIVES[self.builder_config.name], sbd.RELEASE]

    def _pairs(self, split, voc_devkit, sbd_release):
        validation, from_sbd = read_ids(voc_devkit, "val"), read_list(sbd_release / "train.txt")
        from_voc = []
        if self.builder_config.name == "2011":
            validation = sorted({*validation} - {*from_sbd})
            digest = hashlib.sha256("".join(f"{id}\n" for id in validation).encode()).hexdigest()
            if digest != self.SEG11VALID_SHA256:
                raise UserError(
                    f"The {len(validation)} ids of {voc_devkit}/ImageSets/Segmentation/val.txt "
                    f"that are not in {sbd_release}/train.txt must be the published seg11valid, "
                    f"736 ids with the SHA-256 {self.SEG11VALID_SHA256}. Received: {digest}; one "
                    "of the two lists has been changed or is not complete."
                )
        else:
            from_voc = read_ids(voc_devkit, "train")
            known = {*from_voc, *validation}
            both = from_sbd + read_list(sbd_release / "val.txt")
            from_sbd = [id for id in both if id not in known]
        if split == "val":
            return [photo_and_mask(voc_devkit, id) for id in validation]
        return [
            *(photo_and_mask(voc_devkit, id) for id in from_voc),
            *(sbd.photo_and_mask(sbd_release, id) for id in from_sbd),
        ]

    def _read_mask(self, path):
        return sbd.read_mask(path) if path.suffix == ".mat" else read_mask(path)
