"""What the TFDS builders of photos with label maps have in common."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.images import read_image, read_size
from fcn_keras.errors import UserError


def photo_info(
    builder: tfds.core.DatasetBuilder,
    description: str,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
) -> tfds.core.DatasetInfo:
    """Describes a data set of JPEG photos, each with one label map.

    Args:
        builder: the builder to describe.
        description: what the data set is.
        classes: class names.
        colors: an RGB colour for each class.

    Returns:
        A `tfds.core.DatasetInfo` with the features `image` uint8 `(H, W, 3)`, `label` uint8
        `(H, W, 1)` and `id`.
    """
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "label": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                "id": tfds.features.Text(),
            }
        ),
        supervised_keys=("image", "label"),
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(
            {
                "classes": list(classes),
                "colors": [list(map(int, color)) for color in colors],
                "ignore_label": IGNORE_LABEL,
            }
        ),
    )


def photo_example(
    photo: Path, mask: Path, label: np.ndarray, num_classes: int
) -> dict[str, object]:
    """Makes a record of a photo, whose file goes into it as it is, and its label map.

    Args:
        photo: a JPEG file.
        mask: the file that the label map was read from.
        label: uint8 `(H, W)`, class ids and 255.
        num_classes: how many classes there are.

    Raises:
        UserError: if the photo or the label map is not right; names the files.
    """
    size = read_size(photo)
    if size != label.shape:
        raise UserError(
            "An image and its mask must have one size. Received: "
            f"{photo} of {size[1]}x{size[0]} and "
            f"{mask} of {label.shape[1]}x{label.shape[0]} (width x height)."
        )
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
