"""TensorFlow Datasets builder for NYUDv2."""

from dataclasses import replace

import h5py
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from fcn_keras.data.files.matlab import read_label, read_variable
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.tfds.builders.downloads import OriginalFile, locate
from fcn_keras.data.tfds.builders.nyudv2 import names
from fcn_keras.data.tfds.builders.photos import PhotoBuilder, photo_example, photo_info
from fcn_keras.errors import UserError

PACKED = OriginalFile(
    "nyud.tar.gz", ("http://dl.caffe.berkeleyvision.org/nyud.tar.gz",), folder="data/images"
)
OFFICIAL = OriginalFile(
    "nyu_depth_v2_labeled.mat",
    ("http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",),
)
MAPPING = OriginalFile(
    "classMapping40.mat",
    ("https://raw.githubusercontent.com/ankurhanda/nyuv2-meta-data/master/classMapping40.mat",),
    digests=("e377c88729dd63af81205ac9a8634a19",),
)


# What is seen of a room, by configuration: the features, and the folder of FCN's packing that each
# comes from.
_FOLDERS = {
    "color": {"image": "images"},
    "hha": {"image": "hha"},
    "color_hha": {"image": "images", "hha": "hha"},
    "color_depth": {"image": "images", "depth": "depth"},
}


class Builder(PhotoBuilder):
    """Builds NYUDv2 from FCN's own packing, or from the official file.

    The reference trains on trainval, 795 images, and validates on test, 654 images; so these are
    the splits `train` and `validation`.

    Each example holds:

    - `"image"`: `uint8` array `(H, W, 3)`, RGB; in the configuration "hha" the encoding of depth
      (horizontal disparity, height above ground, angle with gravity), in the order of its file.
    - `"hha"`: that encoding besides RGB, in the configuration "color_hha".
    - `"depth"`: `uint16` array `(H, W, 1)`, millimetres, in the configuration "color_depth".
    - `"label"`: `uint8` array `(H, W, 1)`, 0 to 39, or 255 for void.
    - `"id"`: such as `"img_5001"`.

    HHA comes with FCN's packing only.
    """

    INFO = dict(
        description="""
NYUDv2: 1449 rooms in colour and depth, labelled with the 40 classes of Gupta et al. (2013).
""",
        classes=names.CLASSES,
        # Without black, which looks like nothing.
        colors=voc_palette(len(names.CLASSES) + 1)[1:].tolist(),
        homepage="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Either {PACKED.name} from {PACKED.urls[0]}, or the folder that it holds; or {OFFICIAL.name} from
    {OFFICIAL.urls[0]} with {MAPPING.name} from {MAPPING.urls[0]}.
    """
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="color", description="RGB."),
        tfds.core.BuilderConfig(name="hha", description="Encoded depth."),
        tfds.core.BuilderConfig(name="color_hha", description="RGB with encoded depth."),
        tfds.core.BuilderConfig(name="color_depth", description="RGB with depth."),
    ]

    # Numbers of images, from 1.
    SPLITS = {"train": names.TRAINVAL, "validation": names.TEST}

    def _info(self):
        kinds = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "hha": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            # Reading a 16-bit PNG would take OpenCV.
            "depth": tfds.features.Tensor(
                shape=(None, None, 1), dtype=np.uint16, encoding=tfds.features.Encoding.ZLIB
            ),
        }
        return photo_info(
            self,
            **self.INFO,
            features={name: kinds[name] for name in _FOLDERS[self.builder_config.name]},
        )

    def _split_generators(self, dl_manager):
        read, paths = self._find(dl_manager)
        return {split: read(*paths, numbers) for split, numbers in self.SPLITS.items()}

    def _find(self, dl_manager):
        """Chooses what to read: a file that is at hand, or else one that can be fetched."""
        ways = [(self._read_packed, [PACKED]), (self._read_official, [OFFICIAL, MAPPING])]
        needs_hha = "hha" in _FOLDERS[self.builder_config.name].values()
        if needs_hha:
            ways = ways[:1]
        at_hand = [way for way in ways if _is_at_hand(dl_manager, way[1][0])]
        faults = []
        for read, files in at_hand[:1] or ways:
            try:
                return read, locate(dl_manager, files)
            except UserError as error:
                faults.append(str(error))
        message = " Or instead of it: ".join(faults)
        raise UserError(f"HHA comes with {PACKED.name} only: {message}" if needs_hha else message)

    def _read_packed(self, root, numbers):
        for number in numbers:
            stem = f"img_{5000 + number}"
            files = {
                name: root / "data" / kind / f"{stem}.png"
                for name, kind in _FOLDERS[self.builder_config.name].items()
            }
            for path in files.values():
                if not path.is_file():
                    raise UserError(f"{path}: is missing.")
            mask = root / "segmentation" / f"{stem}.mat"
            label = read_label(mask, "segmentation", 0, len(names.CLASSES)) - 1  # 0 is void
            example = photo_example(files["image"], mask, label.astype("uint8"), len(names.CLASSES))
            if "hha" in files:
                example["hha"] = files["hha"].read_bytes()
            if "depth" in files:
                with Image.open(files["depth"]) as depth:
                    example["depth"] = np.asarray(depth).astype("uint16")[:, :, None]
            yield number, example

    def _read_official(self, path, mapping, numbers):
        classes = _read_mapping(mapping)
        try:
            file = h5py.File(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read as HDF5; fetch it again.") from error
        with file:
            absent = {"images", "labels", "depths"} - {*file}
            if absent:
                raise UserError(f"{path}: has no `{min(absent)}`; is it the official file?")
            for number in numbers:
                # The file counts from 0, and has the axes of every array turned round.
                label = classes[file["labels"][number - 1].T] - 1  # 0 is void
                example = {
                    "image": file["images"][number - 1].transpose(2, 1, 0),
                    "label": label.astype("uint8")[:, :, None],
                    "id": f"img_{5000 + number}",
                }
                if "depth" in _FOLDERS[self.builder_config.name]:
                    depth = np.rint(file["depths"][number - 1].T * 1000)
                    example["depth"] = depth.astype("uint16")[:, :, None]
                yield number, example


def _is_at_hand(dl_manager, file):
    try:
        locate(dl_manager, [replace(file, urls=())])
    except UserError:
        return False
    return True


def _read_mapping(path):
    """The class, 1 to 40, of each of the official file's labels; 0 is void in both."""
    classes = read_variable(path, "mapClass").ravel()
    stored = [str(name.item()) for name in read_variable(path, "className").ravel()]
    if stored != list(names.CLASSES) or classes.min() < 1 or classes.max() > len(stored):
        raise UserError(f"{path}: does not map to the 40 classes; fetch it from {MAPPING.urls[0]}.")
    return np.concatenate([[0], classes])
