"""A folder data set of photographs to label: the user's own, or made ones."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.files.images import read_size
from fcn_keras.data.palette import voc_palette
from fcn_keras.figures.label_maps import label_image
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.inference.job import find_images

# Of the amplitudes of waves: photographs' fall as one over their frequency; those of what regions
# are made of faster, so that there are a few large ones.
_PHOTOGRAPHS, _REGIONS = 1.2, 2.5

_CONTRAST = 55  # the standard deviation of a made photograph's numbers

_QUALITY = 90  # of JPEG


def write_photographs(
    folder: Path,
    num_classes: int,
    count: int = 200,
    size: tuple[int, int] = (375, 500),
    images: str | Path | None = None,
) -> list[Path]:
    """Writes photographs and label maps as a folder data set with the split `val`.

    What is made is random: its spectrum is that of photographs, so that it takes as long to decode
    and to compress as these do. Label maps have nothing to do with the images; that takes as long,
    too.

    Args:
        folder: where to write them.
        num_classes: how many classes the data set has.
        count: how many there are, of the user's own at most.
        size: height and width of those that are made.
        images: a folder of photographs to copy instead.

    Returns:
        The photographs.

    Raises:
        UserError: if the user's folder holds none.
    """
    photographs, masks = folder / "val", folder / "valannot"
    photographs.mkdir(parents=True)
    masks.mkdir()
    classes, _ = numbered_classes(num_classes)
    (folder / "dataset.json").write_text(json.dumps({"classes": classes}), "utf-8")
    if images:
        paths = [
            Path(shutil.copy(path, photographs / path.name))
            for path in find_images([images])[:count]
        ]
    else:
        paths = [photographs / f"{number:05}.jpg" for number in range(count)]
        for path, pixels in zip(paths, made_photographs(size), strict=False):
            Image.fromarray(pixels).save(path, quality=_QUALITY)
    regions: dict[tuple[int, int], Iterator[np.ndarray]] = {}
    for path in paths:
        shape = read_size(path)
        if shape not in regions:
            regions[shape] = made_label_maps(shape, num_classes)
        label_image(next(regions[shape]), voc_palette()).save(masks / f"{path.stem}.png")
    return paths


def made_photographs(size: tuple[int, int], seed: int = 0) -> Iterator[np.ndarray]:
    """Makes images with the spectrum of photographs, uint8 `(H, W, 3)`, without end.

    Args:
        size: height and width.
        seed: of what is random.
    """
    # Half of what a channel shows is what all show: few photographs are of pure colours.
    grey, *colors = _fields(size, 4, _PHOTOGRAPHS, seed)
    waves = np.stack([grey + color for color in colors], axis=-1)
    waves *= _CONTRAST / waves.std()
    for moved in _moved(waves, seed):
        yield np.clip(moved + 128, 0, 255).astype("uint8")


def made_label_maps(size: tuple[int, int], num_classes: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Makes label maps of some large regions, uint8 `(H, W)`, without end.

    Args:
        size, seed: see `made_photographs`.
        num_classes: number of classes.
    """
    fields = np.stack(_fields(size, num_classes, _REGIONS, seed), axis=-1)
    yield from _moved(fields.argmax(axis=-1).astype("uint8"), seed)


def _fields(size, count, exponent, seed):
    """Random numbers `(H, W)` whose waves fall with their frequency, and which go on beyond edges
    as they began on the other side."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])
    frequency = np.hypot(y, x)
    frequency[0, 0] = np.inf
    made = []
    for _ in range(count):
        waves = np.fft.rfft2(rng.standard_normal(size)) / frequency**exponent
        field = np.fft.irfft2(waves, size)
        made.append((field / (field.std() or 1)).astype("float32"))
    return made


def _moved(pixels, seed):
    """The same pixels from another corner on, each time."""
    rng = np.random.default_rng(seed)
    while True:
        yield np.roll(pixels, rng.integers(pixels.shape[:2]), axis=(0, 1))
