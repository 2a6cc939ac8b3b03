"""TensorFlow Datasets builder for PASCAL-Context."""

import numpy as np

from fcn_keras.data.files.matlab import read_label
from fcn_keras.data.folders.voc_devkit import photo_and_mask, read_list
from fcn_keras.data.tfds.builders.downloads import OriginalFile
from fcn_keras.data.tfds.builders.pascal_context import names
from fcn_keras.data.tfds.builders.photos import PhotoBuilder
from fcn_keras.errors import UserError

IMAGES = OriginalFile(
    "VOCtrainval_03-May-2010.tar",
    ("http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",),
    folder="VOCdevkit/VOC2010",
    digests=(
        "da459979d0c395079b5c75ee67908abb",
        "1af4189cbe44323ab212bff7afbc7d0f55a267cc191eb3aac911037887e5c7d4",
    ),
)
LABELS = OriginalFile(
    "trainval.tar.gz",
    (
        "https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",
        "http://www.stat.ucla.edu/~ccvl/datasets/pascal-context/trainval.tar.gz",
    ),
    folder="trainval",
    digests=("df034edb2c12aa7d33b42b20bb1796e3",),
)


# The class of every label; what is none of the 59 is background.
_CLASS_IDS = np.zeros(names.LABELS + 1, "uint8")
_CLASS_IDS[[*names.VALUES.values()]] = np.arange(1, len(names.CLASSES))


class Builder(PhotoBuilder):
    """Builds PASCAL-Context with 59 classes and background.

    The splits `train` and `validation` are those images of VOC 2010's `Main/train.txt` and
    `Main/val.txt` that have an annotation: 4998 and 5105.

    Each example holds:

    - `"image"`: `uint8` array `(H, W, 3)`, RGB.
    - `"label"`: `uint8` array `(H, W, 1)`, 0 for background, which is every label outside the 59,
      and 1 to 59. There is no void.
    - `"id"`: the name of the image, such as `"2008_000002"`.
    """

    INFO = dict(
        description="""
PASCAL-Context: 10103 images of PASCAL VOC 2010 with a label on every pixel, here one of the 59
most frequent classes or background.
""",
        classes=names.CLASSES,
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    {IMAGES.name} from {IMAGES.urls[0]}, or unpacked as {IMAGES.folder}; and {LABELS.name} from
    {LABELS.urls[0]}, or unpacked as {LABELS.folder}.
    """

    def _archives(self):
        return [IMAGES, LABELS]

    def _pairs(self, split, devkit, labels):
        annotated = {path.stem for path in labels.glob("*.mat")}
        path = devkit / "ImageSets" / "Main" / f"{split}.txt"
        ids = [id for id in read_list(path) if id in annotated]
        if not ids:
            raise UserError(f"{labels}: holds no annotation of an image that {path} names.")
        return [(photo_and_mask(devkit, id)[0], labels / f"{id}.mat") for id in ids]

    def _read_mask(self, path):
        return _CLASS_IDS[read_label(path, "LabelMap", 0, names.LABELS)]
