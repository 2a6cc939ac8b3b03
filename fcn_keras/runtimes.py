"""Networks as files for other runtimes: ONNX Runtime, OpenVINO, LiteRT, and Keras' weights."""

import json
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.conversion import save_weights
from fcn_keras.errors import UserError, WriteError
from fcn_keras.files import written_whole
from fcn_keras.names import FORMATS
from fcn_keras.quiet_openvino import keep_openvino_quiet
from fcn_keras.serving import with_precision

keep_openvino_quiet()

# Modules that come with the extra of a format's name.
NEEDED = {
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert",),
    "weights": (),
}

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
    """

    difference: float
    labels: float


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
    | `"weights"` | `.weights.h5`, see `fcn_keras.conversion.convert` | - |

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
        The `Agreement` that was found.

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
    if format != "weights" and len(classes) != model.output_shape[-1]:
        raise UserError(
            f"`classes` must name the {model.output_shape[-1]} classes of {model.name}. "
            f"Received: {len(classes)} names."
        )
    if any(layer.compute_dtype != "float32" for layer in model.layers) and format != "weights":
        model = with_precision(model, "float32")
    about = {"classes": list(classes), "colors": [list(color) for color in colors]}
    if license:
        about["license"] = license
    with ExitStack() as stack:
        # Files appear in the opposite order: what the first one refers to is there before it.
        aside, *_ = [stack.enter_context(written_whole(file)) for file in files]
        write, run = _FORMATS[format]
        write(model, aside, about)
        agreement = _compare(model, run(aside, model))
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
    if not output.name.lower().endswith(FORMATS[format]):
        raise UserError(f"{output}: must end in {FORMATS[format]} for --format {format}.")
    files = [output, output.with_suffix(".bin")] if format == "openvino" else [output]
    for file in files:
        if file.exists():
            raise UserError(f"{file}: exists already.")
    for module in NEEDED[format]:
        try:
            import_module(module)
        except ImportError as error:
            raise UserError(
                f"--format {format}: needs {module}, which is not installed. Use pip install "
                f'"fcn_keras[{format}]".'
            ) from error
    return files


def _compare(model, run):
    rng = np.random.default_rng(0)
    differences, same, pixels = [], 0, 0
    for count, *free in CHECKED:
        _, *sides, channels = model.input_shape
        height, width = (side or other for side, other in zip(sides, free, strict=True))
        # Patches rather than noise, which every deep network takes for the same grey.
        patches = rng.integers(0, 256, (count, height // 8 + 1, width // 8 + 1, channels), "uint8")
        image = patches.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        expected, scores = _logits(model(image, training=False)), run(image)
        if scores.shape != expected.shape or scores.dtype != expected.dtype:
            raise RuntimeError(
                f"{model.name}: gave {scores.dtype} {scores.shape} for {expected.dtype} "
                f"{expected.shape}."
            )
        differences.append(np.abs(scores - expected).max() / (np.abs(expected).max() or 1))
        same += np.sum(scores.argmax(axis=-1) == expected.argmax(axis=-1))
        pixels += scores[..., 0].size
    return Agreement(float(np.max(differences)), float(same / pixels))


def _logits(outputs):
    """The scores of all heads, one behind the other."""
    outputs = [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]
    return np.concatenate(outputs, axis=-1)


def _traced(function, *spec):
    # Keras makes a compiled function of each grouped convolution, which tf2onnx does not look
    # into. Run eagerly, it becomes a part of the graph.
    function = tf.function(function, input_signature=spec, autograph=False)
    tf.config.run_functions_eagerly(True)
    try:
        return function.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(False)


def _image(model):
    return tf.TensorSpec(model.input_shape, tf.uint8, name="image")


def _write_onnx(model, path, about):
    """Does what `model.export` does, which takes the mean that is subtracted for an input.

    The weights stay out of the conversion, which would take 30 times their size in memory.
    """
    import onnx
    import tf2onnx

    def call(image, arrays):
        weights = [
            tf.transpose(array, _FROM_ONNX) if len(array.shape) == 4 else array for array in arrays
        ]
        with keras.StatelessScope(zip(model.weights, weights, strict=True)):
            return model(image, training=False)

    names = [weight.path for weight in model.weights]
    arrays = [_as_in_onnx(weight) for weight in model.weights]
    specs = [tf.TensorSpec(array.shape, array.dtype) for array in arrays]
    traced = _traced(call, _image(model), specs)
    inputs = dict(zip((tensor.name for tensor in traced.inputs), ["image", *names], strict=False))
    [score] = traced.outputs
    proto, _ = tf2onnx.convert.from_graph_def(
        traced.graph.as_graph_def(),
        name=model.name,
        input_names=[*inputs],
        output_names=[score.name],
        tensors_to_rename={**inputs, score.name: "score"},
    )
    del proto.graph.input[1:]
    for name, array in zip(names, arrays, strict=True):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for value in (*proto.graph.input, *proto.graph.output):
        for side, letter in zip(value.type.tensor_type.shape.dim, "NHW", strict=False):
            if not side.dim_value:
                side.dim_param = letter
    onnx.helper.set_model_props(proto, _as_strings(about))
    onnx.save(proto, path)


# Axes of a kernel: ONNX has both kinds of channels before height and width.
_TO_ONNX, _FROM_ONNX = (3, 2, 0, 1), (2, 3, 1, 0)


def _as_in_onnx(weight):
    array = keras.ops.convert_to_numpy(weight)
    return np.ascontiguousarray(array.transpose(_TO_ONNX)) if array.ndim == 4 else array


def _run_onnx(path, model):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["score"], {"image": image})[0]


def _write_openvino(model, path, about):
    import openvino

    # `model.export` leaves the output without a name.
    traced = _traced(lambda image: {"score": model(image, training=False)}, _image(model))
    network = openvino.convert_model(traced)
    for name, text in _as_strings(about).items():
        network.set_rt_info(text, name)
    try:
        openvino.save_model(network, path, compress_to_fp16=False)
    except RuntimeError as error:  # which does not tell why
        raise WriteError(
            f"{path.parent}: OpenVINO could not write to it ({error}). Is there room left?"
        ) from error


def _run_openvino(path, model):
    import openvino

    # Where the processor can, OpenVINO computes in bfloat16 unless told otherwise.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(path, "CPU", exact)
    return lambda image: network(image)["score"]


def _write_litert(model, path, about):
    keras.Model(model.input, {"score": model.output}, name=model.name).export(
        str(path),
        format="litert",
        verbose=False,
        input_signature=[keras.InputSpec("uint8", model.input_shape, name="image")],
        # Without TensorFlow's own operations, which few installations of LiteRT have.
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
    )
    # As TensorFlow Lite's metadata does it, a zip archive lies behind the network.
    with zipfile.ZipFile(path, "a") as archive:
        license = about.pop("license", None)
        archive.writestr("classes.json", json.dumps(about, indent=1) + "\n")
        if license:
            archive.writestr("license.txt", license.rstrip("\n") + "\n")


def _run_litert(path, model):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner()
    return lambda image: run(image=image)["score"]


def _write_weights(model, path, about):
    save_weights(model, path)


def _run_weights(path, model):
    other = keras.models.clone_model(model)
    other.load_weights(path)
    return lambda image: _logits(other(image, training=False))


def _as_strings(about):
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in about.items()
    }


# How to write a file of a network and what goes along, and how to run it.
_FORMATS: dict[str, tuple[Callable, Callable]] = {
    "onnx": (_write_onnx, _run_onnx),
    "openvino": (_write_openvino, _run_openvino),
    "litert": (_write_litert, _run_litert),
    "weights": (_write_weights, _run_weights),
}
