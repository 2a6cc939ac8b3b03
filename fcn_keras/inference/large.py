"""Large images: labelled in parts, and written without ever being in memory as a whole."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcn_keras.data.files.large import Bands, LargeImage, find_large
from fcn_keras.errors import UserError
from fcn_keras.inference.job import mark_of
from fcn_keras.inference.outputs import DEFAULT, Outputs
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.inference.writing import Labelled, chosen, write_outputs

# What is made of class ids alone, whatever the size.
_OF_CLASS_IDS = ("mask", "tif")


def parted(
    segmenter: Segmenter, images: Sequence[Path]
) -> tuple[list[Path], list[tuple[Path, LargeImage]]]:
    """Tells images that are labelled as a whole from large ones that are not.

    Args:
        segmenter: what is to label them.
        images: their files.
    """
    if not segmenter.by_parts:
        return [*images], []
    found = [(path, find_large(path, segmenter.images)) for path in images]
    return (
        [path for path, image in found if not image],
        [(path, image) for path, image in found if image],
    )


def label_large(
    segmenter: Segmenter,
    path: Path,
    image: LargeImage,
    output: Path,
    classes: Sequence[str],
    palette: np.ndarray,
    job: dict | None,
    outputs: Outputs,
) -> str | None:
    """Labels a large image, and writes what can be made of it.

    The pictures that are written where nothing is asked for are left out, which is told.

    Args:
        segmenter, path, image: what labels it, its file, and what `parted` found there.
        output, classes, palette, job, outputs: see `fcn_keras.inference.predict.predict`.

    Returns:
        What is wrong with it, or None.
    """
    height, width, _ = image.shape
    size = f"{path}: has {width} x {height} pixels"
    left_out = tuple(name for name in outputs.endings if name not in _OF_CLASS_IDS)
    if left_out and outputs.formats != DEFAULT.formats:
        return (
            f"{size}, and is looked at in parts, of which {' and '.join(_OF_CLASS_IDS)} are "
            f"written. {', '.join(left_out)} would need it as a whole: leave that out of "
            "--output-formats, or cut it into smaller ones."
        )
    if left_out:
        tqdm.write(f"{size}: no {' and no '.join(left_out)} of it", file=sys.stderr)
    choose = None
    if outputs.min_confidence:
        choose = lambda probabilities: chosen(probabilities, outputs)  # noqa: E731
    try:
        class_ids = np.empty((height, width), np.uint8)
        segmenter.label_parts(Bands(image), class_ids, choose)
    except MemoryError:
        return f"{path}: {segmenter.too_large}"
    except UserError as error:
        return str(error)
    write_outputs(
        output / path.stem,
        Labelled(np.empty((0, 0, 3), np.uint8), class_ids, class_ids),
        classes=classes,
        palette=palette,
        mark=mark_of(path, job, outputs),
        outputs=replace(outputs, formats=tuple(set(outputs.formats) & {*_OF_CLASS_IDS})),
        source=path,
        left_out=left_out,
    )
    return None
