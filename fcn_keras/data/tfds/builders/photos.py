"""What the TFDS builders of photos with label maps have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.images import read_image, read_size
from fcn_keras.data.files.masks import check_sizes
from fcn_keras.data.palette import voc_palette
from fcn_keras.data.tfds.builders.downloads import locate
from fcn_keras.errors import UserError


# Checkers of types see no types of TFDS's.
class PhotoBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """What the builders have in common.

    Each says in `INFO` how `photo_info` describes it. Where every label map is a file beside a
    photo, it also has `_archives`, the `OriginalFile`s it is made of; `_pairs`, which lists the
    photos of "train" or "val" with the files of their label maps, given what the archives hold;
    and `_read_mask`, which reads such a file: uint8 `(H, W)`, class ids and 255.
    """

    VERSION = tfds.core.Version("1.0.0")
    INFO: Mapping

    def _info(self):
        return photo_info(self, **self.INFO)

    def _split_generators(self, dl_manager):
        archives = self._archives()
        folders = [
            root / archive.folder
            for root, archive in zip(locate(dl_manager, archives), archives, strict=True)
        ]
        return {
            split: self._generate_examples(self._pairs(name, *folders))
            for split, name in {"train": "train", "validation": "val"}.items()
        }

    def _generate_examples(self, pairs):
        for number, (photo, mask) in enumerate(pairs):
            label = self._read_mask(mask)
            yield number, photo_example(photo, mask, label, len(self.INFO["classes"]))


def photo_info(
    builder: tfds.core.DatasetBuilder,
    description: str,
    classes: Sequence[str],
    colors: Sequence[Sequence[int]] = (),
    features: Mapping[str, tfds.features.FeatureConnector] | None = None,
    heads: Mapping[str, Sequence[str]] | None = None,
    homepage: str | None = None,
) -> tfds.core.DatasetInfo:
    """Describes a data set of photos with their label maps.

    Args:
        builder: the builder to describe.
        description: what the data set is.
        classes: class names.
        colors: an RGB colour for each class; those of VOC if not given.
        features: what an example has beside or in place of `image`, a JPEG uint8 `(H, W, 3)`,
            `label`, uint8 `(H, W, 1)`, and `id`.
        heads: the class names of each label map where there are several.
        homepage: the address of its authors' page.
    """
    usual = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "label": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        "id": tfds.features.Text(),
    }
    metadata = {
        "classes": list(classes),
        "colors": [list(color) for color in colors or voc_palette(len(classes)).tolist()],
        "ignore_label": IGNORE_LABEL,
    }
    if heads:
        metadata["heads"] = {head: list(names) for head, names in heads.items()}
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        homepage=homepage,
        features=tfds.features.FeaturesDict(usual | dict(features or {})),
        supervised_keys=("image", "label"),
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(metadata),
    )


def photo_example(photo: Path, mask: Path, label: np.ndarray, num_classes: int) -> dict:
    """Makes a record of a photo, whose file goes into it as it is, and its label map.

    Args:
        photo: a JPEG file.
        mask: the file that the label map was read from.
        label: uint8 `(H, W)`, class ids and 255.
        num_classes: how many classes there are.

    Raises:
        UserError: if the photo or the label map is not right; names the files.
    """
    check_sizes(photo, read_size(photo), mask, label.shape)
    strange = label[(label >= num_classes) & (label != IGNORE_LABEL)]
    if strange.size:
        raise UserError(
            f"{mask}: a mask may hold 0..{num_classes - 1}, {IGNORE_LABEL}. "
            f"This one holds {strange[0]}."
        )
    contents = photo.read_bytes()
    if not contents.endswith(b"\xff\xd9"):  # It may be truncated, which decoding tells.
        read_image(photo)
    return {"image": contents, "label": label[:, :, None], "id": photo.stem}
