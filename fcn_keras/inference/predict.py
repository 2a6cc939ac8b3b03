"""Label maps for images: files in, pictures out, for one image or for many thousands."""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.images import TooManyPixels
from fcn_keras.data.palette import palette_for
from fcn_keras.errors import UserError
from fcn_keras.inference.job import make_worklist, mark_of
from fcn_keras.inference.large import label_large, parted
from fcn_keras.inference.opening import open_network
from fcn_keras.inference.outputs import DEFAULT, Outputs
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.inference.writing import labelled_image, write_outputs
from fcn_keras.system.threads import ahead

if TYPE_CHECKING:
    import keras

    from fcn_keras.client.client import Client


# Images of a batch, and pixels: what a network keeps of them has to fit into memory.
_BATCH_IMAGES, _BATCH_PIXELS = 8, 1 << 20


def predict(
    network: "str | Path | keras.Model | Client | Segmenter",
    inputs: Iterable[str | Path],
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    *,
    job: dict | None = None,
    fresh: bool = False,
    batch_size: int | None = None,
    tile: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    outputs: Outputs = DEFAULT,
) -> list[Path]:
    """Writes a label map for every image, and what else is asked for, by itself two pictures.

    For `<stem>.jpg` these are `<stem>.png`, a palette PNG of class ids at the image's own size;
    `<stem>_overlay.png`, the classes' colours over the image; `<stem>_side_by_side.png`, image,
    colours and overlay with a legend; `<stem>_confidence.png`, how probable each pixel's class is,
    255 for certain; `<stem>.npz`, its `probabilities`, float16 `(H, W, C)`; `<stem>.geojson`,
    the regions as polygons, with all images' in `coco.json`; and `<stem>_labels.tif`, the class ids
    as a grey TIFF that lies on the earth where the image does. `summary.csv` has the share of each
    class in each image.

    Images of one size go through the network together. While it works, the next ones are read
    and the last ones written; only a few are in memory, however many there are. Large ones, in
    files of which windows can be read, never are as a whole where there is a `tile`, and have none
    of the two pictures, see `fcn_keras.inference.large`.

    Args:
        network: what labels the images, see `fcn_keras.inference.opening.open_network`.
        inputs: image files, and folders of them.
        output: folder to write to.
        classes: C names.
        colors: C RGB triples.
        job: what the label maps depend on beside the images, for JSON. It is noted in them, so
            that those which are in `output` already are known, and left as they are. Nothing is
            left out if not given.
        fresh: whether to leave nothing out.
        batch_size: images in a batch; by their size if not given.
        tile, scales, flip: see `fcn_keras.inference.keras_segmenter.make_segmenter`; not for what
            has been opened with them.
        outputs: which files to write.

    Returns:
        The label maps' paths, in order of the images.

    Raises:
        UserError: if there are no images, two would write one file, or an argument is out of its
            range, before anything is written; if an image cannot be read, after all others have
            been written.

    Example:

    >>> network = load_network("runs/roads-fcn8s")
    >>> predict(network.model, ["photos"], "labelled", network.classes, network.colors)
    """
    if batch_size is not None and batch_size < 1:
        raise UserError(f"`batch_size` must be at least 1. Received: {batch_size}.")
    worklist = make_worklist(inputs, output, job, fresh, outputs)
    segmenter = open_network(network, tile=tile, scales=scales, flip=flip)
    return worklist.finish(
        label_images(
            segmenter,
            worklist.pending,
            output,
            classes,
            colors,
            batch_size=batch_size,
            job=job,
            outputs=outputs,
        ),
        classes,
    )


def label_images(
    segmenter: Segmenter,
    images: list[Path],
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    *,
    batch_size: int | None = None,
    job: dict | None = None,
    outputs: Outputs = DEFAULT,
) -> Iterator[dict[Path, str | None]]:
    """Labels images, and writes what `predict` does.

    Args:
        segmenter: what labels them.
        images: files, all of which are labelled.
        output, classes, colors, batch_size, job, outputs: see `predict`.

    Returns:
        An iterator, which does the work: after each batch it gives the batch's files, with what
        is wrong with each of them, or None.

    Raises:
        UserError: if there is a class that would be void in label maps.
    """
    if len(segmenter.classes) > IGNORE_LABEL:
        raise UserError(
            f"{segmenter.name}: tells {len(segmenter.classes)} classes apart; a label map holds "
            f"{IGNORE_LABEL}, and void."
        )
    if outputs.need_probabilities:
        batch_size = batch_size or 1  # of each pixel there are as many numbers as classes
    images, large = parted(segmenter, images)
    label = partial(_label, segmenter, outputs, threading.Lock())
    others = segmenter.requests or segmenter.at_once - 1
    to = Path(output), classes, palette_for(colors), job, outputs
    write = partial(_write, *to)
    # Its threads end with the process, whatever they wait for: a server, say, after Ctrl-C.
    with ThreadPool(4 + others) as pool:
        read = partial(_read, segmenter.images)
        photos = ahead(pool, read, batches_of(images, batch_size, segmenter), 2 + others)
        # The first one alone, as a network's first run takes longest, and shows that all is well.
        yield from map(write, map(label, islice(photos, 1)))
        answers = ahead(pool, label, photos, others) if others else map(label, photos)
        yield from ahead(pool, write, answers, 2)
    for path, image in large:  # one at a time, as each label map is large too
        yield {path: label_large(segmenter, path, image, *to)}


def batch_size_for(shape: Sequence[int]) -> int:
    """Returns how many images of a size `(H, W, ...)` go through a network together."""
    return min(max(_BATCH_PIXELS // math.prod(shape[:2]), 1), _BATCH_IMAGES)


def batches_of(
    images: Iterable[Path], batch_size: int | None, segmenter: Segmenter
) -> Iterator[list[Path]]:
    """Puts images together that are labelled together: yields each batch as soon as it is full.

    Args:
        images: their files.
        batch_size: images in a batch; by their size if None.
        segmenter: what is to label them.
    """
    groups: dict[tuple, list[Path]] = {}
    for path in images:
        shape: tuple[int, ...] = ()
        if not segmenter.batch_size:
            try:
                shape = segmenter.images.size(path)
            except UserError:
                shape = (_BATCH_PIXELS,)  # told when it is read
        group = groups.setdefault(shape, [])
        group.append(path)
        if len(group) == (batch_size or segmenter.batch_size or batch_size_for(shape)):
            yield groups.pop(shape)
    yield from groups.values()


def _read(reader, paths):
    """Reads a batch: the images by their paths, and what is wrong with each path, or None."""
    images, faults = {}, dict.fromkeys(paths)
    for path in paths:
        try:
            images[path] = reader.read(path)
        except TooManyPixels as error:
            faults[path] = f"{error} Or give --tile, which looks at it in parts, however large."
        except UserError as error:
            faults[path] = str(error)
    return images, faults


def _label(segmenter, outputs, one_large, batch):
    """Labels what `_read` gives: paths, images and answers, and what is wrong.

    An answer is class ids `(H, W)`, or, if these will not do, probabilities `(H, W, C)`. Of large
    images, which keep all cores busy and take much memory, there is one at a time.
    """
    images, faults = batch
    ask = segmenter.score if outputs.need_probabilities else segmenter.label
    answers = []
    pixels = sum(math.prod(image.shape[:2]) for image in images.values())
    alone = one_large if pixels > _BATCH_PIXELS and not segmenter.requests else nullcontext()
    with alone:
        found = ask([*images.values()], [*images])
    for (path, image), answer in zip(images.items(), found, strict=True):
        if isinstance(answer, str):
            faults[path] = f"{path}: {answer}"
        else:
            answers.append((path, image, answer))
    return answers, faults


def _write(output, classes, palette, job, outputs, batch):
    """Writes what `_label` gives; returns what is wrong."""
    answers, faults = batch
    about = dict(classes=classes, palette=palette, outputs=outputs)
    for path, image, answer in answers:
        mark = mark_of(path, job, outputs)
        found = labelled_image(image, answer, outputs)
        write_outputs(output / path.stem, found, mark=mark, source=path, **about)
    return faults
