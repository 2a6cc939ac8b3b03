"""TensorFlow Datasets builder for SIFT Flow."""

import numpy as np
import tensorflow_datasets as tfds

from fcn_keras.data.files.matlab import read_label
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.tfds.builders.downloads import OriginalFile, locate
from fcn_keras.data.tfds.builders.photos import PhotoBuilder, photo_example
from fcn_keras.data.tfds.builders.sift_flow import names
from fcn_keras.errors import UserError

_SCENES = "spatial_envelope_256x256_static_8outdoorcategories"

ARCHIVE = OriginalFile(
    "SiftFlowDataset.zip",
    ("http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip",),
    folder=f"SemanticLabels/{_SCENES}",
)

_MAPS = {"SemanticLabels": names.SEMANTIC, "GeoLabels": names.GEOMETRIC}


class Builder(PhotoBuilder):
    """Builds SIFT Flow.

    The reference trains on trainval, 2486 images, and validates on test, 200 images; so these are
    the splits `train` and `validation`. Trainval is every image with annotations that is not in
    test.

    Each example holds:

    - `"image"`: `uint8` array `(256, 256, 3)`, RGB.
    - `"label"`: `uint8` array `(256, 256, 2)`: the semantic class, 0 to 32, and the geometric one,
      0 to 2; 255 for void in both.
    - `"id"`: the name of the image, such as `"coast_natu975"`.

    `heads` in the metadata names the classes of both maps.
    """

    INFO = dict(
        description="""
SIFT Flow: 2686 outdoor scenes of 256x256 pixels with two label maps, 33 semantic classes and 3
geometric ones.
""",
        classes=names.SEMANTIC,
        # Without black, which looks like nothing.
        colors=voc_palette(len(names.SEMANTIC) + 1)[1:].tolist(),
        # OpenCV reads a PNG of two channels as one of four.
        features={
            "label": tfds.features.Tensor(
                shape=(None, None, 2), dtype=np.uint8, encoding=tfds.features.Encoding.ZLIB
            )
        },
        heads={"sem": names.SEMANTIC, "geo": names.GEOMETRIC},
        homepage="https://www.cs.unc.edu/~jtighe/Papers/ECCV10/",
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    {ARCHIVE.name} from {ARCHIVE.urls[0]}, or its folders Images, SemanticLabels and GeoLabels.
    """

    TEST = names.TEST
    TRAIN_SIZE = 2486

    def _split_generators(self, dl_manager):
        (root,) = locate(dl_manager, [ARCHIVE])
        folder = root / "Images" / _SCENES
        images = {path.stem: path for path in sorted(folder.glob("*.jpg"))}
        train = [stem for stem in images if stem not in {*self.TEST, *names.WITHOUT_LABELS}]
        absent = [stem for stem in self.TEST if stem not in images]
        if absent or len(train) < self.TRAIN_SIZE:
            raise UserError(
                f"{folder}: must hold {self.TRAIN_SIZE} images to train on and "
                f"{len(self.TEST)} to validate on. It holds {len(train)} and "
                f"{len(self.TEST) - len(absent)}; unpack {ARCHIVE.name} again."
            )
        return {
            "train": self._generate_examples(root, [images[stem] for stem in train]),
            "validation": self._generate_examples(root, [images[stem] for stem in self.TEST]),
        }

    def _generate_examples(self, root, images):
        for index, image in enumerate(images):
            examples = []
            for folder, classes in _MAPS.items():
                mask = root / folder / _SCENES / f"{image.stem}.mat"
                # 0 is void, and so is -1, which the geometric maps have.
                label = np.maximum(read_label(mask, "S", -1, len(classes)), 0)
                examples.append(
                    photo_example(image, mask, (label - 1).astype("uint8"), len(classes))
                )
            yield (
                index,
                examples[0] | {"label": np.concatenate([e["label"] for e in examples], axis=-1)},
            )
