"""Networks in 8 bits for other runtimes, and what that changes."""

import json
import os
import sys
import time
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import keras
import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.evaluation.scores import scores_of
from fcn_keras.exporters.formats import FORMATS, INT8, Metadata
from fcn_keras.exporters.runtimes import check_output, export_to_runtime, need
from fcn_keras.exporters.samples import Samples
from fcn_keras.models.channels import stored_pixels
from fcn_keras.system.console import stderr_held
from fcn_keras.system.files import written_whole
from fcn_keras.system.plain_path import plain_path
from fcn_keras.system.progress import progress_bar


class Comparison(NamedTuple):
    """What 8 bits change, before and after.

    Attributes:
        bytes: how large the files are.
        milliseconds: how long an image takes, the median of the images that were compared.
        time: the time after as a share of the time before, the median over the images, for each
            of which both networks ran one after the other.
        labels: the share of pixels with the same label.
        mean_iu: of all images together; None without labels.
        images: how many were calibrated on, and how many compared.
    """

    bytes: tuple[int, int]
    milliseconds: tuple[float, float]
    time: float
    labels: float
    mean_iu: tuple[float, float] | None
    images: tuple[int, int]


def export_int8(
    model: keras.Model,
    output: str | Path,
    format: str,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    samples: Samples,
    license: str | None = None,
) -> Comparison:
    """Writes a network in 8 bits for another runtime, by that runtime's own tool.

    The network is written in float32 first, and checked as `export_to_runtime` does. Then the tool
    looks at the values that the samples make in each layer, and rounds them, and the weights of
    each channel, to 256 steps. Both networks label the samples in turns. What that gives lies
    beside the file under its name, with the ending `.json`.

    Args:
        model, output, classes, colors, license: see `export_to_runtime`.
        format: `"onnx"` (by `onnxruntime.quantization`), `"openvino"` (by NNCF, the extra
            `int8`) or `"litert"` (by LiteRT's converter).
        samples: images of the kind that it will see.

    Returns:
        How large, fast and right it is, before and after.

    Raises:
        UserError: if the format has no 8 bits, the network takes images of one size alone, and as
            `export_to_runtime` does.
        RuntimeError: if the network in 8 bits gives what is no number.

    Example:

    >>> network = load_network("runs/roads-fcn8s")
    >>> model, classes, colors, *_ = network
    >>> samples = samples_of("roads", network)
    >>> export_int8(model, "roads.onnx", "onnx", classes, colors, samples).mean_iu
    (0.713, 0.708)
    """
    if any(side is not None for side in model.input_shape[1:3]) or stored_pixels(model):
        raise UserError(
            "--precision int8: is for networks that take photographs (RGB, 8 bits) of any size. "
            f"{model.name} takes {model.input_shape}."
        )
    files = check_int8_output(output, format)
    metadata = Metadata(classes, colors, license)
    writer = import_module(f"fcn_keras.exporters.{format}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        whole = folder / f"float32{FORMATS[format].endings[0]}"
        asides = [stack.enter_context(written_whole(file)) for file in files]
        aside = Path(plain_path(asides[0].parent), asides[0].name)
        with stderr_held():
            export_to_runtime(model, whole, format, classes, colors, license)
        with _calibrating(samples.shown) as images:
            writer.write_int8(model, whole, aside, metadata, images)
        found = _compare(writer, model, whole, aside, samples)
        asides[-1].write_text(json.dumps(_told(found, format, samples), indent=1) + "\n", "utf-8")
    return found


def check_int8_output(output: str | Path, format: str) -> list[Path]:
    """Returns the files that `export_int8` would write.

    Raises:
        UserError: if the format has no 8 bits, and as `check_output` does.
    """
    packages = FORMATS[format].int8
    if packages is None:
        able = ", ".join(name for name, kind in FORMATS.items() if kind.int8 is not None)
        raise UserError(f"--precision int8: is for --format {able}. Received: {format}.")
    files = [*check_output(output, format), Path(output).with_suffix(".json")]
    if files[-1].exists():
        raise UserError(f"{files[-1]}: exists already.")
    need(packages, f"--precision int8 with --format {format}", INT8)
    return files


@contextmanager
def _calibrating(images):
    """Gives the images with a progress bar, while what the tools say is held back."""
    with (
        open(os.dup(2), "w", encoding="utf-8", errors="backslashreplace") as terminal,
        progress_bar("calibrating", None, iterable=images, file=terminal) as shown,
        stderr_held(),
        redirect_stdout(sys.stderr),
    ):
        yield shown


def _compare(writer, model, whole, aside, samples):
    """Lets both networks label the samples in turns."""
    runs = [writer.run(path, model) for path in (whole, aside)]
    classes = model.output_shape[-1]
    confusions = np.zeros((2, classes, classes), int)
    seconds: list[list[float]] = []
    same = pixels = 0
    known_shapes = set()
    for number, image in enumerate(progress_bar("comparing", None, iterable=samples.scored)):
        answers, times = [], []
        if image.shape not in known_shapes:  # what is prepared for a size is not timed
            known_shapes.add(image.shape)
            for run in runs:
                run(image[None])
        for run in runs:
            start = time.perf_counter()
            logits = run(image[None])[0]
            times.append(time.perf_counter() - start)
            if not np.isfinite(logits).all():
                raise RuntimeError(f"{model.name}: gave what is no number in {INT8}.")
            answers.append(logits.argmax(axis=-1))
        seconds.append(times)
        same += np.sum(answers[0] == answers[1])
        pixels += answers[0].size
        if samples.labels is not None:
            for confusion, answer in zip(confusions, answers, strict=True):
                counts, _ = confusion_matrix(samples.labels[number], answer, classes)
                confusion += keras.ops.convert_to_numpy(counts)
    before, after = np.transpose(seconds)
    scores = [float(scores_of(confusion)["mean_iu"]) for confusion in confusions]
    return Comparison(
        (_size(whole), _size(aside)),
        (1e3 * float(np.median(before)), 1e3 * float(np.median(after))),
        float(np.median(after / before)),
        float(same / pixels),
        (scores[0], scores[1]) if samples.labels is not None else None,
        (len(samples.shown), len(samples.scored)),
    )


def _size(path):
    """Bytes of a file, and of the weights beside it."""
    files = {path, path.with_suffix(".bin")} if path.suffix == ".xml" else {path}
    return sum(file.stat().st_size for file in files)


def _told(found, format, samples) -> dict[str, Any]:
    pairs = {
        name: None if pair is None else dict(zip(("float32", INT8), pair, strict=True))
        for name, pair in found._asdict().items()
        if name not in ("time", "labels", "images")
    }
    return {
        "format": format,
        "precision": INT8,
        "calibrated": {"on": samples.name, "images": len(samples.shown)},
        "compared": {"images": len(samples.scored), "with_labels": samples.labels is not None},
        "time_of_float32s": found.time,
        "labels_as_float32s": found.labels,
        **pairs,
    }


def report(found: Comparison) -> list[str]:
    """Returns what a comparison says, in lines for people."""
    lines = [
        "images: {} to calibrate on, {} to compare on".format(*found.images),
        f"size: {found.bytes[1] / 1e6:.2f} MB, {found.bytes[1] / found.bytes[0]:.2f} of float32's",
        f"time: {found.milliseconds[1]:.1f} ms an image, {found.time:.2f} of float32's, in turns",
        f"labels: {found.labels:.2%} are float32's",
    ]
    if found.mean_iu:
        before, after = found.mean_iu
        lines.append(f"mean IU: {after:.4f}, float32's {before:.4f}")
    return lines
