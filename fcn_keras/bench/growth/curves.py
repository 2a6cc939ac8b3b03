"""Which curves are measured, and at which sizes: each point is a job for a process of its own."""

from dataclasses import asdict, dataclass
from typing import Any

from fcn_keras.bench.growth.lines import FLAT, LINEAR
from fcn_keras.errors import UserError
from fcn_keras.models.backbones import VGG16

# Kind -> the sizes that are measured if no others are asked for.
SIZES: dict[str, tuple[float, ...]] = {
    "tiled": (1, 4, 16, 36, 100),
    "whole": (0.25, 1, 2, 4, 8, 16, 32, 64),
    "classes": (2, 21, 150, 250),
    "images": (10, 1000, 10_000, 100_000),
}

# Of VGG16, whose pixels take 50 times as long.
VGG16_TILED = (1, 4, 9, 25)

UNITS = {"tiled": "megapixels", "whole": "megapixels", "classes": "classes", "images": "images"}

# Images are tiny, and so is their network: what grows is this package's own handling.
_HANDLED = {
    "check": "data check",
    "train": "train, to the end of its first step",
    "predict_start": "predict, to its first label map",
    "predict": "predict, to its end",
    "evaluate": "evaluate, to its first batch",
}

# `predict` writes a file for each image.
_MOST_WRITTEN = 10_000


@dataclass(frozen=True)
class Asked:
    """What growth is measured of.

    Attributes:
        kind: one of `SIZES`.
        sizes: megapixels, classes or images, ascending; those of `SIZES` if there are none.
        variant, backbone, width: of the network, see `fcn_keras.build`; not of images, whose
            network is tiny.
        size: height and width of the image, where classes grow.
        num_classes: how many classes there are, where they do not grow.
        tile: see `fcn_keras.inference.tiling.Tiling`; of "tiled".
        memory: how many GB a process may take; of "whole".

    Raises:
        UserError: if sizes are out of their range.
    """

    kind: str
    sizes: tuple[float, ...] = ()
    variant: str = "fcn8s"
    backbone: str = "mobilenet_v2"
    width: float = 1.0
    size: tuple[int, int] = (512, 512)
    num_classes: int = 21
    tile: int = 1024
    memory: float = 16.0

    def __post_init__(self):
        if not self.sizes:
            vgg16 = self.kind == "tiled" and self.backbone == VGG16
            object.__setattr__(self, "sizes", VGG16_TILED if vgg16 else SIZES[self.kind])
        least, most = {"classes": (2, 255), "images": (10, 10**7)}.get(self.kind, (0.001, 10**4))
        sizes = self.sizes
        whole = self.kind in ("tiled", "whole") or all(size == int(size) for size in sizes)
        if [*sizes] != sorted({*sizes}) or not all(least <= size <= most for size in sizes):
            whole = False
        if not whole or len(sizes) < 2:
            raise UserError(
                f"--sizes: must be ascending numbers of {UNITS[self.kind]} from {least:g} to "
                f"{most:g}, two at least. Received: {','.join(f'{size:g}' for size in sizes)}."
            )

        if not self.memory > 0:
            raise UserError(f"--memory: must be above 0 GB. Received: {self.memory:g}.")

    @property
    def network(self) -> dict[str, Any]:
        """The arguments of `fcn_keras.build` but for the number of classes."""
        return {"variant": self.variant, "backbone": self.backbone, "width": self.width}


@dataclass(frozen=True)
class Curve:
    """Something that is measured at several sizes.

    Attributes:
        name: of the job in `fcn_keras.bench.growth.work.JOBS`.
        title: what people call it.
        sizes: ascending.
        memory: the shape of its line of memory, see `fcn_keras.bench.growth.lines`.
    """

    name: str
    title: str
    sizes: tuple[float, ...]
    memory: str = LINEAR


def curves_of(asked: Asked) -> list[Curve]:
    """Returns the curves of a kind."""
    sizes = asked.sizes
    match asked.kind:
        case "tiled":
            return [Curve("label", f"predict --tile {asked.tile}", sizes)]
        case "whole":
            return [Curve("label", "predict, each image as a whole", sizes)]
        case "classes":
            return [
                Curve("forward", "labelling an image", sizes),
                Curve("step", "a training step", sizes),
                Curve("scores", "counting an image's pixels for the scores", sizes),
            ]
    written = tuple(size for size in sizes if size <= _MOST_WRITTEN)
    return [
        Curve(name, title, written if name == "predict" else sizes, FLAT)
        for name, title in _HANDLED.items()
        if name != "predict" or len(written) > 1
    ]


def job_of(asked: Asked, name: str, size: float) -> dict[str, Any]:
    """Returns what the process of a point is told, for JSON."""
    return {"job": name, "at": size, "asked": asdict(asked)}


def side_of(megapixels: float) -> int:
    """Returns the height and width of a square image."""
    return max(1, round((1e6 * megapixels) ** 0.5))
