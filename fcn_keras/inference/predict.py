"""Label maps for images: files in, pictures out, for one image or for many thousands."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from fcn_keras.data.files.images import read_image, read_size
from fcn_keras.data.palette import palette_for
from fcn_keras.errors import UserError
from fcn_keras.figures.label_maps import label_image, overlay, side_by_side
from fcn_keras.inference.c_library.saved_model import InLibrary
from fcn_keras.inference.job import ENDINGS, note_of, plan_for
from fcn_keras.inference.remote import ask_server
from fcn_keras.system.files import written_whole

if TYPE_CHECKING:
    import keras

    from fcn_keras.client.client import Client


# Images of a batch, and pixels: what a network keeps of them has to fit into memory.
_BATCH_IMAGES, _BATCH_PIXELS = 8, 1 << 20


class _Photo(NamedTuple):
    path: Path
    image: np.ndarray


def predict(
    network: "keras.Model | InLibrary | Client",
    inputs: Iterable[str | Path],
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    *,
    job: dict | None = None,
    fresh: bool = False,
    **options,
) -> list[Path]:
    """Writes a label map and two pictures for every image.

    For `<stem>.jpg` these are `<stem>.png`, a palette PNG of class ids at the image's own size;
    `<stem>_overlay.png`, the classes' colours over the image; and `<stem>_side_by_side.png`,
    image, colours and overlay with a legend.

    Images of one size go through the network together. While it works, the next ones are read
    and the last ones written; only a few are in memory, however many there are.

    Args:
        network: `(N, H, W, 3)` to logits `(N, H, W, C)`; or what was exported; or a server.
        inputs: image files, and folders of them.
        output: folder to write to.
        classes: C names.
        colors: C RGB triples.
        job: what the label maps depend on beside the images, for JSON. It is noted in them, so
            that those which are in `output` already are known, and left as they are. Nothing is
            left out if not given.
        fresh: whether to leave nothing out.
        **options: `batch_size`, `tile`, `scales`, `flip`: see `label_images`.

    Returns:
        The label maps' paths, in order of the images.

    Raises:
        UserError: if there are no images, or two would write one file, before anything is
            written; if an image cannot be read, after all others have been written.
    """
    plan = plan_for(inputs, output, job, fresh)
    faults = {}
    batches = label_images(network, plan.pending, output, classes, colors, job=job, **options)
    with plan.progress_bar() as bar:
        for done in batches:
            faults |= done
            bar.update(len(done))
    return plan.finish(faults)


def label_images(
    network: "keras.Model | InLibrary | Client",
    images: list[Path],
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    *,
    batch_size: int | None = None,
    tile: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    job: dict | None = None,
) -> Iterator[dict[Path, str | None]]:
    """Labels images, and writes what `predict` does.

    Args:
        network, output, classes, colors, job: see `predict`.
        images: files, all of which are labelled.
        batch_size: images in a batch; by their size if not given.
        tile, scales, flip: see `fcn_keras.inference.segmenter.make_segmenter`; for a Keras model.

    Returns:
        An iterator, which does the work: after each batch it gives the batch's files, with what
        is wrong with each of them, or None.

    Raises:
        UserError: if an argument is out of its range.
    """
    if batch_size is not None and batch_size < 1:
        raise UserError(f"`batch_size` must be at least 1. Received: {batch_size}.")
    if hasattr(network, "label"):  # a client
        label, same_size, at_once = lambda photos: ask_server(network, photos), False, 4
    else:
        if isinstance(network, InLibrary):
            segment, way_out = network.segment, "see --tile, for a run or a .keras file."
        else:
            segment, way_out = _segmenter(network, tile, scales, flip), "see --tile."
        label, same_size, at_once = lambda photos: _label(segment, photos, way_out), True, 0
        # Parts are looked at one by one: there is nothing to put together.
        batch_size = batch_size or (1 if tile else None)
    output, palette = Path(output), palette_for(colors)
    if tile:
        # Meant for pictures that go beyond what Pillow takes for an attack.
        Image.MAX_IMAGE_PIXELS = None

    def read(paths):
        photos, faults = [], dict.fromkeys(paths)
        for path in paths:
            try:
                photos.append(_Photo(path, read_image(path)))
            except UserError as error:
                faults[path] = str(error)
        return photos, faults

    def answer(photos_and_faults):
        photos, faults = photos_and_faults
        labelled = []
        for photo, class_ids in zip(photos, label(photos) if photos else [], strict=True):
            if isinstance(class_ids, str):
                faults[photo.path] = f"{photo.path}: {class_ids}"
            else:
                labelled.append((photo, class_ids))
        return labelled, faults

    def write(labelled_and_faults):
        labelled, faults = labelled_and_faults
        for (path, image), class_ids in labelled:
            pictures = (
                Image.fromarray(overlay(image, class_ids, palette)),
                side_by_side(image, class_ids, palette, classes),
                label_image(class_ids, palette),
            )
            for ending, picture in zip(ENDINGS, pictures, strict=True):
                is_label_map = ending == ".png"
                # At level 1 photographs take a third of the time, and 2 % more bytes.
                options = {"pnginfo": note_of(path, job)} if is_label_map else {"compress_level": 1}
                with written_whole(output / (path.stem + ending)) as aside:
                    picture.save(aside, **options)
        return faults

    def work():
        # Its threads end with the process, whatever they wait for: a server, say, after Ctrl-C.
        with ThreadPool(4 + at_once) as pool:
            photos = _ahead(pool, read, _batches(images, batch_size, same_size), 2 + at_once)
            labelled = _ahead(pool, answer, photos, at_once) if at_once else map(answer, photos)
            yield from _ahead(pool, write, labelled, 2)

    return work()


def _segmenter(network, *options):
    import tensorflow as tf

    from fcn_keras.inference.segmenter import make_segmenter

    segment = make_segmenter(network, *options)

    def in_memory(images):
        try:
            return np.asarray(segment(images))
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(str(error)) from error

    return in_memory


def _label(segment, photos, way_out):
    """Class ids of photos of one size; for those that memory does not hold, a line instead."""
    try:
        return segment(np.stack([photo.image for photo in photos]))
    except MemoryError:
        if len(photos) > 1:
            return [_label(segment, [photo], way_out)[0] for photo in photos]
        return [f"takes more memory than there is: {way_out}"]


def _ahead(pool, function, items, depth):
    """Maps `function` over `items` in order, `depth` of them in threads ahead of the caller."""
    pending = deque()
    for item in items:
        pending.append(pool.apply_async(function, (item,)))
        if len(pending) > depth:
            yield pending.popleft().get()
    while pending:
        yield pending.popleft().get()


def _batches(images, batch_size, same_size):
    """Puts images together that can be labelled together."""
    if not same_size:
        size = batch_size or 4
        return [images[i : i + size] for i in range(0, len(images), size)]
    groups = {}
    for path in images:
        try:
            groups.setdefault(read_size(path), []).append(path)
        except UserError:
            groups.setdefault(None, []).append(path)  # told when it is read
    batches = []
    for shape, paths in groups.items():
        if shape is None:
            size = 1
        else:
            fitting = max(_BATCH_PIXELS // math.prod(shape), 1)
            size = batch_size or min(fitting, _BATCH_IMAGES)
        batches += [paths[i : i + size] for i in range(0, len(paths), size)]
    return batches
