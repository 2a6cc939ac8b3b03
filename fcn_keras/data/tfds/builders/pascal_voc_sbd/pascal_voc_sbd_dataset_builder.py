"""TensorFlow Datasets builder for PASCAL VOC with the labels of SBD."""

import hashlib

import tensorflow_datasets as tfds

from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders import voc_devkit
from fcn_keras.data.folders.voc_devkit import VOC_CLASSES
from fcn_keras.data.tfds.builders.downloads import locate
from fcn_keras.data.tfds.builders.pascal_voc.archives import ARCHIVES
from fcn_keras.data.tfds.builders.photos import photo_examples, photo_info
from fcn_keras.data.tfds.builders.sbd import release
from fcn_keras.errors import UserError

_DESCRIPTION = """
PASCAL VOC's photos with label maps of 20 classes of objects and background, of which SBD drew most.
In VOC's own label maps, the borders of objects are void (255).
"""


class Builder(tfds.core.GeneratorBasedBuilder):
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

    VERSION = tfds.core.Version("1.0.0")
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

    def _info(self):
        return photo_info(self, _DESCRIPTION, VOC_CLASSES)

    def _split_generators(self, dl_manager):
        year = self.builder_config.name
        archives = [ARCHIVES[year], release.RELEASE]
        roots = locate(dl_manager, archives)
        voc, sbd = (root / archive.folder for root, archive in zip(roots, archives, strict=True))
        voc_val, sbd_train = voc_devkit.read_ids(voc, "val"), release.read_ids(sbd, "train")
        if year == "2011":
            from_voc, from_sbd = [], sbd_train
            validation = sorted({*voc_val} - {*sbd_train})
            self._check_seg11valid(validation, voc, sbd)
        else:
            from_voc, validation = voc_devkit.read_ids(voc, "train"), voc_val
            known = {*from_voc, *validation}
            sbd_ids = sbd_train + release.read_ids(sbd, "val")
            from_sbd = [id for id in sbd_ids if id not in known]
        return {
            "train": self._generate_examples(voc, from_voc, sbd, from_sbd),
            "validation": self._generate_examples(voc, validation),
        }

    def _check_seg11valid(self, ids, voc, sbd):
        digest = hashlib.sha256("".join(f"{id}\n" for id in ids).encode()).hexdigest()
        if digest != self.SEG11VALID_SHA256:
            raise UserError(
                f"The {len(ids)} ids of {voc}/ImageSets/Segmentation/val.txt that are not in "
                f"{sbd}/train.txt must be the published seg11valid, 736 ids with the SHA-256 "
                f"{self.SEG11VALID_SHA256}. Received: {digest}; one of the two lists has been "
                "changed or is not complete."
            )

    def _generate_examples(self, voc, voc_ids, sbd=None, sbd_ids=()):
        """Yields the images that VOC labels, then those that SBD labels."""
        pairs = [voc_devkit.photo_and_mask(voc, id) for id in voc_ids]
        yield from photo_examples(pairs, read_mask, len(VOC_CLASSES))
        pairs = [release.photo_and_mask(sbd, id) for id in sbd_ids]
        yield from photo_examples(pairs, release.read_mask, len(VOC_CLASSES), len(voc_ids))
