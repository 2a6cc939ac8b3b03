"""How the images of a folder are read: as it says itself, or as who opens it wants."""

from collections.abc import Mapping
from contextlib import suppress

from fcn_keras.data.files.readers import PHOTOGRAPHS, AsStored, ImageReader
from fcn_keras.data.folders.description import Description
from fcn_keras.data.folders.matching import Files
from fcn_keras.errors import UserError


def told_reader(about: Description) -> ImageReader:
    """Returns how images are read by what `dataset.json` says."""
    return AsStored(about.channels) if about.channels else PHOTOGRAPHS


def reader_for(
    wanted: ImageReader | None, about: Description, splits: Mapping[str, Files]
) -> ImageReader:
    """Returns how the images of a folder are read.

    Those that are read as stored are to hold all the same kind of numbers: that of the first one,
    if nothing else is wanted.

    Args:
        wanted: by who opens the folder; as it says itself if None.
        about: what the folder says.
        splits: its files.

    Raises:
        UserError: if the two do not agree.
    """
    images = wanted or told_reader(about)
    if about.channels and getattr(images, "channels", None) != about.channels:
        others = f"{images.channels} channels" if isinstance(images, AsStored) else "photographs"
        raise UserError(
            f"{about.root}: its dataset.json says that images have {about.channels} channels, and "
            f"{others} are wanted."
        )
    if not isinstance(images, AsStored) or images.dtype:
        return images
    files = [pair.image for split in splits.values() for pair in split.pairs + split.without_mask]
    for path in sorted(files):
        with suppress(UserError):  # told when it is read
            return images.like(path)
    return images
