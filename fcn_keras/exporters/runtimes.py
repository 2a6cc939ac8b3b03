"""Networks as files for other runtimes: ONNX Runtime, OpenVINO, LiteRT, and Keras' weights."""

from collections.abc import Iterable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.exporters.formats import FORMATS, Metadata
from fcn_keras.exporters.networks import with_precision
from fcn_keras.models.channels import image_spec, stored_numbers, stored_pixels
from fcn_keras.system.files import written_whole
from fcn_keras.system.plain_path import plain_path

# How far a runtime may be from Keras: in logits, as a share of the largest, and in labels.
MAX_DIFFERENCE, MIN_LABELS = 1e-4, 0.9999

# Batches that are compared: images, height, width. Among fewer pixels a single tie, which each
# runtime breaks in its own way, would be too large a share.
CHECKED = ((1, 160, 224), (2, 97, 131))


class Agreement(NamedTuple):
    """How close a runtime comes to Keras.

    Attributes:
        difference: the largest difference between logits, as a share of the largest logit.
        labels: the share of pixels with the same label.
        tells: whether that says anything: not where all logits are one number, as those of a
            network that has not been trained.
    """

    difference: float
    labels: float
    tells: bool = True


def export_to_runtime(
    model: keras.Model,
    output: str | Path,
    format: str,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    license: str | None = None,
) -> Agreement:
    """Writes a network as a file for another runtime, and checks it there.

    Before the file appears under its name, the runtime labels images of two sizes with it, and
    the logits are compared with those of Keras.

    | format | file | class names, colours and licence are in |
    |---|---|---|
    | `"onnx"` | `.onnx` | its metadata, as JSON: `classes`, `colors`, `license` |
    | `"openvino"` | `.xml`, with a `.bin` of the same name beside it | its `rt_info`, alike |
    | `"litert"` | `.tflite` | `classes.json` and `license.txt`: the file is a zip archive, too |
    | `"weights"` | `.weights.h5`, see `fcn_keras.exporters.convert.convert` | - |

    The first three take `image`, uint8 `(N, H, W, 3)`, RGB in 0..255, and give `score`, float32
    `(N, H, W, C)`. N, H and W are free where those of the network are. They compute in float32,
    also where the network was trained in another precision.

    Args:
        model: images `(N, H, W, 3)` to logits `(N, H, W, C)`. For `"weights"` it may have several
            outputs.
        output: the file to write; ends as the table says.
        format: which of them.
        classes: C names.
        colors: C RGB triples.
        license: under what terms the network may be used; not for `"weights"`.

    Returns:
        How close the runtime comes to Keras.

    Raises:
        UserError: if the output exists or has another ending, the names are not as many as the
            classes, or the format's packages are not installed.
        RuntimeError: if the runtime's logits are not those of Keras. There is no file then.
        WriteError: if the disk refuses it.

    Example:

    >>> model = keras.models.load_model("best.keras")
    >>> export_to_runtime(model, "fcn8s.onnx", "onnx", ["sky", "road"], [(0, 0, 0), (128, 0, 0)])
    """
    files = check_output(output, format)
    metadata = Metadata(classes, colors, license, stored_pixels(model))
    if format != "weights":
        metadata.check(model.name, model.output_shape[-1])
        if any(layer.compute_dtype != "float32" for layer in model.layers):
            model = with_precision(model, "float32")
    with ExitStack() as stack:
        # Files appear in the opposite order: what the first one refers to is there before it.
        aside, *_ = [stack.enter_context(written_whole(file)) for file in files]
        aside = Path(plain_path(aside.parent), aside.name)
        writer = _writer(format)
        writer.write(model, aside, metadata)
        agreement = _compare(model, writer.run(aside, model))
        # Written such that a difference that is no number is too large.
        if not (agreement.difference <= MAX_DIFFERENCE and agreement.labels >= MIN_LABELS):
            raise RuntimeError(
                f"{output}: not written: in {format} the logits of {model.name} are off by "
                f"{agreement.difference:.1e} of the largest (allowed: {MAX_DIFFERENCE:.0e}), and "
                f"{agreement.labels:.3%} of the labels are the same (at least: {MIN_LABELS:.2%})."
            )
    return agreement


def check_output(output: str | Path, format: str) -> list[Path]:
    """Returns the files that an export would write, see `export_to_runtime`.

    Raises:
        UserError: if one exists, or the name has another ending, or a package is missing.
    """
    output = Path(output)
    ending, *others = FORMATS[format].endings
    # OpenVINO takes a name in small letters alone.
    name = output.name if format == "openvino" else output.name.lower()
    if not name.endswith(ending):
        raise UserError(f"{output}: must end in {ending} for --format {format}.")
    files = [output, *map(output.with_suffix, others)]
    for file in files:
        if file.exists():
            raise UserError(f"{file}: exists already.")
    _writer(format)  # first: it may prepare for the import of its packages
    need(FORMATS[format].packages, f"--format {format}", format)
    return files


def need(packages: Iterable[str], what: str, extra: str) -> None:
    """Raises a `UserError` if packages are not installed.

    Args:
        packages: names of modules.
        what: what needs them.
        extra: the extra of this package that brings them.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise UserError(
                f"{what}: needs {package}, which is not installed. Use pip install "
                f'"fcn_keras[{extra}]".'
            ) from error


def _writer(format):
    return import_module(f"fcn_keras.exporters.{format}")


def _patches(rng, shape, model):
    """Numbers such as a network takes."""
    _, dtype = image_spec(model)
    stored = stored_numbers(model)
    if not stored:
        return rng.integers(0, 256, shape, "uint8").astype(dtype)
    numbers = stored.mean + rng.normal(size=shape) * stored.std
    if dtype != "float32":
        numbers = numbers.clip(0, np.iinfo(dtype).max)
    return numbers.astype(dtype)


def _compare(model, run):
    rng = np.random.default_rng(0)
    differences, same, pixels, tells = [], 0, 0, False
    for count, *free in CHECKED:
        _, *sides, channels = model.input_shape
        height, width = (side or other for side, other in zip(sides, free, strict=True))
        # Patches rather than noise, which every deep network takes for the same grey.
        patches = _patches(rng, (count, height // 8 + 1, width // 8 + 1, channels), model)
        image = patches.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        expected, logits = _as_one(model(image, training=False)), _as_one(run(image))
        if logits.shape != expected.shape or logits.dtype != expected.dtype:
            raise RuntimeError(
                f"{model.name}: gave {logits.dtype} {logits.shape} for {expected.dtype} "
                f"{expected.shape}."
            )
        differences.append(np.abs(logits - expected).max() / (np.abs(expected).max() or 1))
        same += np.sum(logits.argmax(axis=-1) == expected.argmax(axis=-1))
        pixels += logits[..., 0].size
        tells |= bool(np.ptp(expected))
    return Agreement(float(np.max(differences)), float(same / pixels), tells)


def _as_one(outputs):
    """The logits of all heads in one array, one behind the other."""
    arrays = [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]
    return np.concatenate(arrays, axis=-1)
