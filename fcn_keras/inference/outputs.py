"""Which files are written for a labelled image."""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fcn_keras.errors import UserError

# Format -> what is added to an image's stem. The label map, which tells what it was made of, comes
# last: where it is, all files are.
ENDINGS = {
    "overlay": "_overlay.png",
    "side_by_side": "_side_by_side.png",
    "confidence": "_confidence.png",
    "probabilities": ".npz",
    "polygons": ".geojson",
    "tif": "_labels.tif",
    "mask": ".png",
}


@dataclass(frozen=True)
class Outputs:
    """Which files are written for each image, and how.

    Attributes:
        formats: of `ENDINGS`; the label map is written in any case.
        simplify: by how many pixels the outlines of polygons may be off.
        min_confidence: pixels whose class is less probable than this become void.

    Raises:
        UserError: if there is no such format, a number is out of its range, or a package is
            missing.
    """

    formats: tuple[str, ...] = ("mask", "overlay", "side_by_side")
    simplify: float = 0.0
    min_confidence: float = 0.0

    def __post_init__(self):
        unknown = [name for name in self.formats if name not in ENDINGS]
        if unknown:
            raise UserError(
                f"`output_formats` must be of {', '.join(sorted(ENDINGS))}. "
                f"Received: {', '.join(unknown)}."
            )
        if not (math.isfinite(self.simplify) and self.simplify >= 0):
            raise UserError(
                f"`simplify` must be a number of pixels from 0 up. Received: {self.simplify}."
            )
        if self.simplify and "polygons" not in self.formats:
            raise UserError("`simplify` is for the format `polygons`, which is not asked for.")
        if self.simplify and find_spec("shapely") is None:
            raise UserError("`simplify` needs Shapely: pip install 'fcn_keras[polygons]'.")
        if "tif" in self.formats and find_spec("tifffile") is None:
            raise UserError("`output_formats`: tif needs tifffile: pip install 'fcn_keras[tiff]'.")
        if not 0 <= self.min_confidence <= 1:
            raise UserError(
                f"`min_confidence` must be from 0 to 1. Received: {self.min_confidence}."
            )

    @property
    def need_probabilities(self) -> bool:
        """Whether class ids alone will not do."""
        asked = not {"confidence", "probabilities"}.isdisjoint(self.formats)
        return asked or self.min_confidence > 0

    @property
    def endings(self) -> dict[str, str]:
        """What each format adds to an image's stem, the label map's last."""
        asked = {*self.formats, "mask"}
        return {name: ending for name, ending in ENDINGS.items() if name in asked}

    @property
    def job(self) -> dict[str, Any]:
        """What files differ by that have the same names, for JSON."""
        numbers = {"simplify": self.simplify, "min_confidence": self.min_confidence}
        return {name: number for name, number in numbers.items() if number}


# What is written if nothing else is asked for.
DEFAULT = Outputs()
