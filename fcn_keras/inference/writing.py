"""The files of a labelled image."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.figures.label_maps import label_image, overlay, side_by_side
from fcn_keras.figures.pictures import as_picture
from fcn_keras.figures.png import write_png
from fcn_keras.inference.job import note_of
from fcn_keras.inference.label_tiff import write_label_tiff
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.polygons import geojson_of
from fcn_keras.inference.summary import note_summary
from fcn_keras.system.files import written_whole


class Labelled(NamedTuple):
    """An image with what has been found in it.

    Attributes:
        image: uint8 `(H, W, 3)`; of what is no photograph, what people see of it; of a large one
            nothing, as no picture is made of it.
        class_ids: uint8 `(H, W)`.
        answer: what they are from: probabilities `(H, W, C)`, or class ids where these will do.
    """

    image: np.ndarray
    class_ids: np.ndarray
    answer: np.ndarray


def labelled_image(image: np.ndarray, answer: np.ndarray, outputs: Outputs) -> Labelled:
    """Puts an image together with what a `Segmenter` answers.

    Args:
        image: `(H, W, C)`, of any numbers.
        answer: class ids, uint8 `(H, W)`; or, where these will not do, probabilities `(H, W, C)`.
        outputs: what is asked for; pixels below its `min_confidence` become void.
    """
    image = as_picture(image)
    if not outputs.need_probabilities:
        return Labelled(image, answer, answer)
    return Labelled(image, chosen(answer, outputs), answer)


def chosen(probabilities: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Returns the class ids for probabilities `(..., C)`: uint8 `(...)`.

    Args:
        probabilities: of all classes.
        outputs: what is asked for; pixels below its `min_confidence` become void.
    """
    class_ids = probabilities.argmax(axis=-1).astype(np.uint8)
    class_ids[probabilities.max(axis=-1) < outputs.min_confidence] = IGNORE_LABEL
    return class_ids


def write_outputs(
    target: Path,
    found: Labelled,
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    mark: str | None,
    outputs: Outputs,
    source: Path | None = None,
    left_out: Sequence[str] = (),
) -> None:
    """Writes the files that are asked for of an image.

    Args:
        target: their path, without what `Outputs.endings` adds.
        found: the image and its labels.
        classes: names of the classes.
        palette: uint8 `(256, 3)`.
        mark: what is noted in the label map, see `fcn_keras.inference.job.mark_of`.
        outputs: which files.
        source: the image's file, if it has one of its own.
        left_out: formats that were asked for, and are not written; noted in the label map.

    Raises:
        WriteError: if the disk refuses it.
    """
    image, class_ids, answer = found
    for name, ending in outputs.endings.items():
        with written_whole(target.with_name(target.name + ending)) as aside:
            match name:
                case "overlay":
                    write_png(aside, overlay(image, class_ids, palette), runs=False)
                case "side_by_side":
                    write_png(aside, side_by_side(image, class_ids, palette, classes))
                case "confidence":
                    confidence = 255 * answer.max(axis=-1)
                    Image.fromarray(np.rint(confidence).astype(np.uint8)).save(aside)
                case "probabilities":
                    np.savez_compressed(aside, probabilities=answer.astype(np.float16))
                case "polygons":
                    areas = geojson_of(class_ids, classes, outputs.simplify)
                    aside.write_text(json.dumps(areas), "utf-8")
                case "tif":
                    write_label_tiff(aside, class_ids, source)
                case "mask":
                    note = note_of(mark, left_out)
                    note_summary(note, class_ids)
                    # Runs of one number are all that label maps are made of: in a third of the
                    # usual time they come as small.
                    picture = label_image(class_ids, palette)
                    picture.save(aside, pnginfo=note, compress_level=1, compress_type=zlib.Z_RLE)
