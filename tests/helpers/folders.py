"""Small data sets on disk, and where the repository and the real ones lie."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"


def write_folder(root, train=2, val=1, layout="annot", size=(20, 28), values=3, about=None):
    """Writes `<split>_<i>.png` images with masks of values from 0 to `values` - 1.

    Args:
        root: the folder to make.
        train, val: how many images each split has; a split without images is left out.
        layout: "annot" for train + trainannot, "annotations" for images + annotations.
        size: height and width.
        values: how many values a mask has; each occurs.
        about: what `dataset.json` holds; no such file if not given.
    """
    root = Path(root)
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for i in range(count):
            image_path, mask_path = paths(root, layout, split, f"{split}_{i}")
            mask = rng.integers(0, values, size, dtype=np.uint8)
            mask.flat[:values] = np.arange(values)
            for path, array in (
                (image_path, rng.integers(0, 256, (*size, 3), dtype=np.uint8)),
                (mask_path, mask),
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    if about is not None:
        (root / "dataset.json").write_text(json.dumps(about))
    return root


def write_squares(root, train=5, val=3):
    """Writes bright squares on a dark ground, with more and more void from image to image."""
    root = Path(root)
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for i in range(count):
            image = rng.integers(0, 80, (40, 36, 3), "uint8")
            mask = np.zeros((40, 36), "uint8")
            top, left = rng.integers(0, 20, 2)
            mask[top : top + 16, left : left + 16] = 1
            image[mask == 1] += 150
            mask[: 5 * i % 30] = 255
            for path, array in zip(paths(root, "annot", split, str(i)), (image, mask), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "dataset.json").write_text(json.dumps({"classes": ["ground", "square"]}))
    return root


def paths(root, layout, split, stem):
    """Where the image and the mask of an example lie."""
    if layout == "annot":
        return root / split / f"{stem}.png", root / f"{split}annot" / f"{stem}.png"
    return root / "images" / split / f"{stem}.png", root / "annotations" / split / f"{stem}.png"
