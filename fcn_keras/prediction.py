"""Label maps for images: files in, pictures out."""

from collections.abc import Iterable
from pathlib import Path

import keras
import tensorflow as tf
from PIL import Image

from fcn_keras.data.images import IMAGE_SUFFIXES, read_image
from fcn_keras.errors import UserError
from fcn_keras.files import written_whole
from fcn_keras.palette import label_image, overlay, palette_for, side_by_side
from fcn_keras.progress import progress_bar

# What is written for an image: its stem with one of these.
_ENDINGS = (".png", "_overlay.png", "_side_by_side.png")


def make_segmenter(model: keras.Model):
    """Compiles a network into a function from images to class ids.

    Args:
        model: `(N, H, W, 3)` to logits `(N, H, W, C)`.

    Returns:
        A `tf.function`: uint8 `(N, H, W, 3)`, RGB, to uint8 `(N, H, W)`. It is traced once, for
        images of any size.

    Example:

    >>> segment = make_segmenter(keras.models.load_model("best.keras"))
    >>> segment(image[None])[0].shape == image.shape[:2]
    True
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, model.input_shape[-1]), tf.uint8, name="image")
        ],
        autograph=False,
    )
    def segment(image):
        return tf.cast(tf.argmax(model(image, training=False), axis=-1), tf.uint8)

    return segment


def predict(
    model: keras.Model,
    inputs: Iterable[str | Path],
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
) -> list[Path]:
    """Writes a label map and two pictures for every image.

    For `<stem>.jpg` these are `<stem>.png`, a palette PNG of class ids at the image's own size;
    `<stem>_overlay.png`, the classes' colours over the image; and `<stem>_side_by_side.png`,
    image, colours and overlay with a legend.

    Args:
        model: `(N, H, W, 3)` to logits `(N, H, W, C)`.
        inputs: image files, and folders of them.
        output: folder to write to.
        classes: C names.
        colors: C RGB triples.

    Returns:
        The label maps' paths.

    Raises:
        UserError: if there are no images, or two would write one file, before anything is
            written; if an image cannot be read, after all others have been written.
    """
    images = find_images(inputs)
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is not a folder.")
    targets = {(output / (path.stem + ending)).resolve() for path in images for ending in _ENDINGS}
    for path in images:
        if path.resolve() in targets:
            raise UserError(f"{path}: would be overwritten. Choose another folder to write to.")
    palette = palette_for(colors)
    segment = make_segmenter(model)
    written, faults = [], []
    for path in progress_bar("predicting", len(images), iterable=images):
        try:
            image = read_image(path)
        except UserError as error:
            faults.append(str(error))
            continue
        class_ids = segment(image[None])[0].numpy()
        pictures = (
            label_image(class_ids, palette),
            Image.fromarray(overlay(image, class_ids, palette)),
            side_by_side(image, class_ids, palette, classes),
        )
        for ending, picture in zip(_ENDINGS, pictures, strict=True):
            with written_whole(output / (path.stem + ending)) as aside:
                picture.save(aside)
        written.append(output / f"{path.stem}.png")
    if faults:
        raise UserError(
            f"{' '.join(faults)} {len(written)} of {len(images)} images are done, in {output}."
        )
    return written


def find_images(inputs: Iterable[str | Path]) -> list[Path]:
    """Lists image files, those of a folder in order of their names.

    Raises:
        UserError: if there are none, or two have one stem.
    """
    images = []
    for path in map(Path, inputs):
        if path.is_dir():
            found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
            if not found:
                raise UserError(f"{path}: holds no images ({', '.join(IMAGE_SUFFIXES)}).")
            images += found
        elif path.is_file():
            images.append(path)
        else:
            raise UserError(f"{path}: no such file or folder.")
    if not images:
        raise UserError("No images given.")
    writers = {}
    for path in images:
        for name in (path.stem + ending for ending in _ENDINGS):
            if name in writers:
                raise UserError(
                    f"{writers[name]} and {path} would both write {name}: predict them into "
                    "different folders."
                )
            writers[name] = path
    return images
