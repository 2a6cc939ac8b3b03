"""Networks as SavedModels for TensorFlow Serving: bytes of images in, label maps out."""

import fcntl
import json
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from fcn_keras.decoding import MAX_PIXELS, decode_or_skip
from fcn_keras.errors import UserError
from fcn_keras.files import writing
from fcn_keras.products import with_own_products

PRECISIONS = ("float32", "bfloat16")
PROCESSORS = ("cpu", "gpu")

# Folders in the making. TensorFlow Serving looks at numbered ones only.
_PARTIAL = ".export-"


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

    | signature | input | output |
    |---|---|---|
    | `serving_default` | `image_bytes` string (N): JPEG, PNG, BMP or GIF files, of any sizes |
      `mask_bytes` string (N): label maps as grey PNGs, each as large as its image;
      `class_pixels` int32 (N, C) |
    | `segment` | `image` uint8 (N, H, W, 3) | `class_ids` uint8 (N, H, W) |
    | `probabilities` | `image` uint8 (N, H, W, 3) | `probabilities` float32 (N, H, W, C) |

    Each answers a batch of no images too. Where a file cannot be decoded or has too many pixels,
    `mask_bytes` is the empty string and `class_pixels` is -1 all along; the other files of the
    batch are answered as ever.

    Class names and colours are in `assets/classes.json`, the licence in `assets/license.txt`, and
    a request to each signature, which the server answers before it takes others, in `assets.extra`.

    Args:
        model: images `(N, H, W, 3)` to logits `(N, H, W, C)`.
        output: folder that TensorFlow Serving watches.
        classes: C names.
        colors: C RGB triples.
        version: number of the folder to make in `output`; one above the highest if not given.
        strict: whether a file that cannot be decoded fails the call, with its place in the batch
            in the message.
        max_pixels: an image file of more pixels is not decoded.
        license: under what terms the network may be used.
        precision: what to store the weights and to compute in, `"float32"` or `"bfloat16"`; as
            the network was built if not given. Logits are float32 always.
        freeze: whether to write the weights as constants of the graph instead of variables.
            TensorFlow copies them often: exporting then takes some 33 times their size in
            memory, and serving 15 times.
        processor: what the network will run on, `"cpu"` or `"gpu"`. On the first its large
            convolutions are computed as products of matrices, see `products.with_products`.

    Returns:
        `output/<version>`. It appears complete or not at all; what exports that were killed have
        left in `output` is deleted.

    Raises:
        UserError: if that version exists, an option is unknown, or the network does not take RGB
            images of any size.
        WriteError: if the disk refuses it.
    """
    if processor not in PROCESSORS:
        raise UserError(
            f"`processor` must be one of {', '.join(PROCESSORS)}. Received: {processor!r}."
        )
    check_target(output, version)
    _check_network(model, classes, precision, max_pixels)
    if precision is not None:
        model = with_precision(model, precision)
    logits = _as_function(with_own_products(model) if processor == "cpu" else model, freeze)
    # The variables that the signatures use are found and stored. `track` would store all twice.
    archive = keras.export.ExportArchive()
    for name, function, spec in _signatures(logits, len(classes), strict, max_pixels):
        archive.add_endpoint(name, function, [spec])
    about = {"classes": list(classes), "colors": [list(color) for color in colors]}
    about = json.dumps(about, indent=1) + "\n"

    output = Path(output)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        with _partial(output) as aside:
            archive.write_out(str(aside), verbose=False)
            assets = aside / "assets"
            assets.mkdir(exist_ok=True)
            (assets / "classes.json").write_text(about)
            if license:
                (assets / "license.txt").write_text(license.rstrip("\n") + "\n")
            _write_warmup(aside / "assets.extra" / "tf_serving_warmup_requests")
            with _locked(output):
                # Another process may have been faster.
                target = check_target(output, version)
                os.rename(aside, target)
    return target


def check_target(output: str | Path, version: int | None = None) -> Path:
    """Returns the folder that an export would make, see `export`.

    Raises:
        UserError: if it exists, or cannot be made.
    """
    output = Path(output)
    for path in (output, *output.parents):
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is not a folder.")
    if version is None:
        names = [path.name for path in output.iterdir()] if output.is_dir() else []
        numbers = [int(name) for name in names if name.isascii() and name.isdecimal()]
        version = max(numbers, default=0) + 1
    if not 0 < version < 1 << 63:
        raise UserError(
            f"--version: must be a number from 1 up to {(1 << 63) - 1}, the highest that "
            f"TensorFlow Serving knows. Received: {version}."
        )
    target = output / str(version)
    if target.exists():
        raise UserError(
            f"{target}: exists already. Leave --version out for one above the highest, or choose "
            "another."
        )
    return target


def _check_network(model, classes, precision, max_pixels):
    if model.input_shape != (None, None, None, 3):
        shape = ", ".join(map(str, model.input_shape[1:]))
        raise UserError(
            f"{model.name}: takes images of ({shape}). What can be served takes RGB images of any "
            "size, (None, None, 3)."
        )
    num_classes = model.output_shape[-1]
    if num_classes > 256:
        raise UserError(
            f"{model.name}: tells {num_classes} classes apart; a label map of 8 bits holds 256."
        )
    if len(classes) != num_classes:
        raise UserError(
            f"`classes` must name the {num_classes} classes of {model.name}. "
            f"Received: {len(classes)} names."
        )
    if precision not in (None, *PRECISIONS):
        raise UserError(
            f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}."
        )
    if max_pixels < 1:
        raise UserError(f"`max_pixels` must be at least 1. Received: {max_pixels}.")


@contextmanager
def _partial(output):
    """Gives a new folder in `output`, which is gone afterwards if it still has its name."""
    aside = output / f"{_PARTIAL}{uuid.uuid4().hex[:12]}"
    with _locked(output):
        for path in output.glob(f"{_PARTIAL}*"):
            # One that its process writes to is locked, as long as that lives.
            with suppress(OSError), _locked(path, fcntl.LOCK_NB):
                shutil.rmtree(path)
        aside.mkdir()
        held = os.open(aside, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(held)


@contextmanager
def _locked(folder, flags=0):
    """Keeps other processes from locking a folder meanwhile; waits for those that have."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(lock)


def with_precision(model: keras.Model, precision: str) -> keras.Model:
    """Copies a network into another precision: all of its layers but the last."""

    def clone(operation):
        config = operation.get_config()
        if isinstance(operation, keras.layers.Layer) and operation.name not in model.output_names:
            config["dtype"] = precision
        return type(operation).from_config(config)

    other = keras.models.clone_model(model, clone_function=clone)
    other.set_weights(model.get_weights())
    return other


def _as_function(model, freeze):
    """The network as a graph that all signatures call, so that its constants are stored once."""
    function = tf.function(
        lambda image: model(image, training=False),
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")],
        autograph=False,
    )
    if not freeze:
        return function
    frozen = convert_variables_to_constants_v2(
        function.get_concrete_function(), lower_control_flow=False
    )
    return lambda image: frozen(image)[0]


def _signatures(logits, num_classes, strict, max_pixels):
    def class_ids(scores):
        return tf.cast(tf.argmax(scores, axis=-1), tf.uint8)

    def scores(image):
        # Convolutions refuse to see nothing.
        shape = tf.concat([tf.shape(image)[:3], [num_classes]], axis=0)
        scores = tf.cond(tf.size(image) > 0, lambda: logits(image), lambda: tf.zeros(shape))
        return tf.ensure_shape(scores, (None, None, None, num_classes))

    def label(image):
        ids = class_ids(logits(image[None]))[0]
        pixels = tf.math.bincount(
            tf.cast(ids, tf.int32), minlength=num_classes, maxlength=num_classes
        )
        return tf.io.encode_png(ids[:, :, None]), pixels

    def from_bytes(image_bytes):
        def one(place_and_data):
            place, data = place_and_data
            image, good = decode_or_skip(data, max_pixels)
            if strict:
                message = f"is no JPEG, PNG, BMP or GIF, damaged, or larger than {max_pixels} px."
                message = tf.strings.format("image_bytes[{}]: " + message, place)
                with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
                    return label(tf.identity(image))
            nothing = tf.constant(b""), tf.fill((num_classes,), -1)
            return tf.cond(good, lambda: label(image), lambda: nothing)

        # One image after the other: their sizes may differ.
        mask_bytes, class_pixels = tf.map_fn(
            one,
            (tf.range(tf.size(image_bytes)), image_bytes),
            fn_output_signature=(
                tf.TensorSpec((), tf.string),
                tf.TensorSpec((num_classes,), tf.int32),
            ),
            parallel_iterations=1,  # the memory of one network
        )
        return {"mask_bytes": mask_bytes, "class_pixels": class_pixels}

    def segment(image):
        return {"class_ids": class_ids(scores(image))}

    def probabilities(image):
        return {"probabilities": tf.nn.softmax(scores(image))}

    files = tf.TensorSpec((None,), tf.string, name="image_bytes")
    images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    return (
        ("serving_default", from_bytes, files),
        ("segment", segment, images),
        ("probabilities", probabilities, images),
    )


def _write_warmup(path):
    """Writes a request to each signature, which TensorFlow Serving makes when it has loaded.

    The numbers are those of tensorflow_serving/apis/prediction_log.proto and of those that it
    imports. Their Python classes come with tensorflow-serving-api only.
    """
    image = tf.fill((64, 64, 3), tf.constant(127, tf.uint8))
    requests = (
        ("serving_default", "image_bytes", tf.io.encode_png(image)[None].numpy()),
        ("segment", "image", image[None].numpy()),
        ("probabilities", "image", image[None].numpy()),
    )
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, name, value in requests:
            tensor = tf.make_tensor_proto(value).SerializeToString()
            model_spec = _field(1, _field(3, signature.encode()))
            inputs = _field(2, _field(1, name.encode()) + _field(2, tensor))
            file.write(_field(6, _field(1, model_spec + inputs)))  # predict_log, request


def _field(number, content):
    """A field of a protobuf message: its number and kind, its length, its content."""
    length, left = b"", len(content)
    while left > 127:
        length += bytes([left % 128 + 128])
        left //= 128
    return bytes([8 * number + 2]) + length + bytes([left]) + content
