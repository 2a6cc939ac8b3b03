"""Networks as SavedModels for TensorFlow Serving: bytes of images in, label maps out."""

import json
import os
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from fcn_keras.errors import UserError
from fcn_keras.prediction import make_segmenter


def export(
    model: keras.Model,
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    version: int | None = 1,
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

    Class names and colours are in `assets/classes.json`.

    Args:
        model: images `(N, H, W, 3)` to logits `(N, H, W, C)`.
        output: folder that TensorFlow Serving watches.
        classes: C names.
        colors: C RGB triples.
        version: number of the folder to make in `output`; None for one above the highest.

    Returns:
        `output/<version>`. It appears complete or not at all.

    Raises:
        UserError: if that version exists.
    """
    target = check_target(output, version)
    target.parent.mkdir(parents=True, exist_ok=True)
    # TensorFlow Serving looks at numbered folders only.
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        archive = keras.export.ExportArchive()
        archive.track(model)
        for name, function, spec in _signatures(model):
            archive.add_endpoint(name, function, [spec])
        archive.write_out(str(aside), verbose=False)
        (aside / "assets").mkdir(exist_ok=True)
        about = {"classes": list(classes), "colors": [list(color) for color in colors]}
        (aside / "assets" / "classes.json").write_text(json.dumps(about, indent=1) + "\n")
        os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def check_target(output: str | Path, version: int | None = 1) -> Path:
    """Returns the folder that an export would make, see `export`.

    Raises:
        UserError: if it exists, or cannot be made.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is not a folder.")
    if version is None:
        names = [path.name for path in output.iterdir()] if output.is_dir() else []
        version = max((int(name) for name in names if name.isdigit()), default=0) + 1
    target = output / str(version)
    if target.exists():
        raise UserError(
            f"{target}: exists already. Choose another folder, another --version, or "
            "--version next."
        )
    return target


def decode_image(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes the bytes of a JPEG, PNG, BMP or GIF file, in a graph.

    Args:
        image_bytes: string scalar.

    Returns:
        uint8 `(H, W, 3)`, RGB; the first frame of an animation. JPEGs come out to the bit as
        Pillow reads them, upright as their EXIF data says.
    """

    def other():
        return tf.cond(
            tf.strings.regex_full_match(image_bytes, _PALETTE_BMP),
            lambda: _decode_palette_bmp(image_bytes),
            lambda: tf.io.decode_image(image_bytes, 3, expand_animations=False),
        )

    image = tf.cond(
        tf.strings.substr(image_bytes, 0, 3) == b"\xff\xd8\xff",
        lambda: _decode_jpeg(image_bytes),
        other,
    )
    return tf.ensure_shape(image, (None, None, 3))


# EXIF data in the head of a JPEG: TIFF of either byte order, whose entries have 12 bytes each.
# The orientation's is captured, if there is one.
_ORIENTATION = (
    r"(?s)\A(?:\C*?Exif\x00\x00(?:"
    r"II\*\x00\x08\x00\x00\x00\C\C(?:\C{12}){0,80}?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])|"
    r"MM\x00\*\x00\x00\x00\x08\C\C(?:\C{12}){0,80}?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08])"
    r"))?\C*\z"
)
_PALETTE_BMP = r"(?s)BM\C{26}\x08\x00\C*"  # 8 bits per pixel


def _decode_jpeg(data):
    # TensorFlow's default is a faster and coarser transform than all others use.
    image = tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")
    head = tf.strings.substr(data, 0, 1 << 16)
    found = tf.strings.regex_replace(head, _ORIENTATION, r"\1\2", replace_global=False)
    orientation = tf.io.decode_raw(found + b"\x01", tf.uint8)[0]
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    for axis, mirrored in ((0, (3, 4, 7, 8)), (1, (2, 3, 6, 7))):
        flipped = tf.reverse(image, [axis])
        image = tf.where(tf.reduce_any(orientation == mirrored), flipped, image)
    return image


def _decode_palette_bmp(data):
    # TensorFlow takes the places in the palette for grey values.
    places = tf.io.decode_bmp(data)[:, :, 0]
    pixels, header = tf.unstack(tf.io.decode_raw(tf.strings.substr(data, 10, 8), tf.int32), 2)
    palette = tf.strings.substr(data, 14 + header, pixels - 14 - header)
    palette = tf.reshape(tf.io.decode_raw(palette, tf.uint8), (-1, 4))[:, 2::-1]  # BGR0
    return tf.gather(palette, tf.cast(places, tf.int32))


def _signatures(model):
    num_classes = model.output_shape[-1]
    segment_ids = make_segmenter(model)

    def from_bytes(image_bytes):
        def one(data):
            class_ids = segment_ids(decode_image(data)[None])[0]
            pixels = tf.math.bincount(
                tf.cast(class_ids, tf.int32), minlength=num_classes, maxlength=num_classes
            )
            return tf.io.encode_png(class_ids[:, :, None]), pixels

        # One image after the other: their sizes may differ.
        mask_bytes, class_pixels = tf.map_fn(
            one,
            image_bytes,
            fn_output_signature=(
                tf.TensorSpec((), tf.string),
                tf.TensorSpec((num_classes,), tf.int32),
            ),
        )
        return {"mask_bytes": mask_bytes, "class_pixels": class_pixels}

    def segment(image):
        return {"class_ids": segment_ids(image)}

    def probabilities(image):
        return {"probabilities": tf.nn.softmax(model(image, training=False))}

    files = tf.TensorSpec((None,), tf.string, name="image_bytes")
    images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    return (
        ("serving_default", from_bytes, files),
        ("segment", segment, images),
        ("probabilities", probabilities, images),
    )
