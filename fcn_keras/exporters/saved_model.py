"""Networks as SavedModels for TensorFlow Serving: bytes of images in, label maps out."""

from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from fcn_keras.cpu.class_ids import parts_of
from fcn_keras.cpu.products import with_own_products
from fcn_keras.errors import UserError
from fcn_keras.exporters.formats import CPU, GPU, MAX_PIXELS, PRECISIONS, PROCESSORS, Metadata
from fcn_keras.exporters.networks import with_precision
from fcn_keras.exporters.signatures import signatures_of
from fcn_keras.exporters.version_folder import check_target, partial_folder, publish
from fcn_keras.exporters.warmup import write_warmup
from fcn_keras.models.channels import image_spec, stored_pixels
from fcn_keras.system.plain_path import plain_path
from fcn_keras.system.processor import computes_in, kind as this_kind, taken_for

HALF = "bfloat16"


def export(
    model: keras.Model,
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    version: int | None = None,
    *,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
    license: str | None = None,
    precision: str | None = None,
    freeze: bool = False,
    processor: str = "cpu",
) -> Path:
    """Writes a network as a SavedModel that TensorFlow Serving can load.

    It holds decoding and preprocessing, needs neither Keras nor this package, and has three
    signatures:

    - `serving_default`: `image_bytes`, string (N): JPEG, PNG, BMP or GIF files, of any sizes; to
      `mask_bytes`, string (N): label maps as grey PNGs, each as large as its image, and
      `class_pixels`, int32 (N, C).
    - `segment`: `image`, uint8 (N, H, W, 3); to `class_ids`, uint8 (N, H, W).
    - `probabilities`: `image`, uint8 (N, H, W, 3); to `probabilities`, float32 (N, H, W, C).

    Each answers a batch of no images too. Where a file cannot be decoded or has too many pixels,
    `mask_bytes` is the empty string and `class_pixels` is -1 all along; the other files of the
    batch are answered as ever.

    A network of images that are no photographs has their channels and their dtype in place of
    `uint8 (N, H, W, 3)`, and answers PNG files of such images; where PNG cannot hold them (more
    than four channels, floats), `serving_default` is `segment`.

    Class names and colours are in `assets/classes.json`, the licence in `assets/license.txt`, and
    a request to each signature, which the server answers before it takes others, in `assets.extra`.

    Args:
        model: images `(N, H, W, 3)`, or of other channels, to logits `(N, H, W, C)`.
        output: folder that TensorFlow Serving watches.
        classes: C names.
        colors: C RGB triples.
        version: number of the folder to make in `output`; one above the highest if not given.
        strict: whether a file that cannot be decoded fails the call, with its place in the batch
            in the message.
        max_pixels: an image file of more pixels is not decoded.
        license: under what terms the network may be used.
        precision: what to store the weights and to compute in, `"float32"` or `"bfloat16"`; as
            the network was built if not given. With bfloat16 scores are interpolated in float32,
            and all is computed in it where the processor has no instructions for bfloat16.
        freeze: whether to write the weights as constants of the graph instead of variables.
            TensorFlow copies them often: exporting then takes some 33 times their size in
            memory, and serving 15 times.
        processor: what the network will run on: one of the kinds of processors of
            `fcn_keras.system.processor.KINDS`, `"cpu"` for this machine's, or `"gpu"`. On a
            processor its large convolutions are computed as products of matrices, see
            `fcn_keras.cpu.products.with_products`. It is named in `assets/processor.txt`.

    Returns:
        `output/<version>`. It appears complete or not at all; what exports that were killed have
        left in `output` is deleted.

    Raises:
        UserError: if that version exists, an option is unknown, or the network does not take
            images of any size.
        WriteError: if the disk refuses it.

    Example:

    >>> network = load_network("runs/roads-fcn8s")
    >>> export(network.model, "exported/roads", network.classes, network.colors)
    PosixPath('exported/roads/1')
    """
    check_target(output, version)
    pixels = stored_pixels(model)
    metadata = Metadata(classes, colors, license, pixels)
    _check(model, metadata, max_pixels, precision, processor)
    kind = this_kind() if processor == CPU else processor
    archive = keras.export.ExportArchive()
    with taken_for(kind):
        model = _prepared(model, precision, kind)
        network, label = _as_functions(model, freeze, kind)
        signatures = signatures_of(network, label, len(classes), strict, max_pixels, pixels)
        # The variables that the signatures use are found and stored. `track` would store all twice.
        for name, function, spec in signatures:
            archive.add_endpoint(name, function, [spec])
    with partial_folder(output) as folder:
        # Gradients are for training, and cannot be written where weights are constants.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        archive.write_out(plain_path(folder), options, verbose=False)
        assets = folder / "assets"
        assets.mkdir(exist_ok=True)
        about = {"processor.txt": kind + "\n"}
        for name, text in (metadata.files() | about).items():
            (assets / name).write_text(text, "utf-8")
        write_warmup(folder / "assets.extra" / "tf_serving_warmup_requests", signatures)
        return publish(folder, version)


def _check(model, metadata, max_pixels, precision, processor):
    if model.input_shape[:3] != (None, None, None):
        raise UserError(
            f"{model.name}: takes images of ({', '.join(map(str, model.input_shape[1:]))}). What "
            "can be served takes images of any size, (None, None, C)."
        )
    num_classes = model.output_shape[-1]
    if num_classes > 256:
        raise UserError(
            f"{model.name}: tells {num_classes} classes apart; a label map of 8 bits holds 256."
        )
    metadata.check(model.name, num_classes)
    if precision not in (None, *PRECISIONS):
        raise UserError(
            f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}."
        )
    if processor not in PROCESSORS:
        raise UserError(
            f"`processor` must be one of {', '.join(PROCESSORS)}. Received: {processor!r}."
        )
    if max_pixels < 1:
        raise UserError(f"`max_pixels` must be at least 1. Received: {max_pixels}.")


def _prepared(model, precision, processor):
    """The network as a kind of processor computes it fastest."""
    other = model if precision is None else with_precision(model, precision)
    if processor == GPU:
        return other
    if precision == HALF and computes_in(HALF) is False:
        # Emulated it would take longer than float32: it is what the weights are stored in.
        return with_own_products(with_precision(model, "float32"), model, stored=HALF)
    return with_own_products(other, None if other is model else model)


def _as_functions(model, freeze, processor):
    """The network, and what labels images by it."""
    parts = parts_of(model, on_gpu=processor == GPU)
    spec = tf.TensorSpec(*image_spec(model), name="image")
    # One graph that all signatures call: serving takes a dozen MB for each. What a server is given
    # is not looked at otherwise: one channel would be taken for all.
    before = tf.function(
        lambda image: parts.before(tf.ensure_shape(image, spec.shape)),
        input_signature=[spec],
        autograph=False,
    )
    if freeze:
        before = convert_variables_to_constants_v2(
            before.get_concrete_function(), lower_control_flow=False
        )
    return lambda image: parts.logits(*before(image)), lambda image: parts.label(*before(image))
