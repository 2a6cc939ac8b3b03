"""Label maps for images: files in, pictures out, for one image or for many thousands."""

import hashlib
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fcn_keras.data.images import IMAGE_SUFFIXES, read_image, read_size
from fcn_keras.errors import UserError
from fcn_keras.exported import InLibrary
from fcn_keras.files import remove_leftovers, written_whole
from fcn_keras.palette import label_image, overlay, palette_for, side_by_side
from fcn_keras.progress import progress_bar

if TYPE_CHECKING:  # what takes its time to import, where few need it
    import keras

    from fcn_keras.client import Client

# What is written for an image: its stem with one of these. The label map comes last, so that
# where it is, all are.
_ENDINGS = ("_overlay.png", "_side_by_side.png", ".png")

# Under this name a label map holds what it was made of.
_NOTE = "fcn_keras"

# Seconds after which nobody goes on with a file that was begun.
_IDLE = 60

# Images of a batch, and pixels: what a network keeps of them has to fit into memory.
_BATCH_IMAGES, _BATCH_PIXELS = 8, 1 << 20

# What a server decodes. Images in other formats are sent as PNGs.
_SERVED = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


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


class Plan(NamedTuple):
    """What is to be labelled.

    Attributes:
        images: all of the files.
        pending: those that have not been labelled already.
        output: the folder to write to.
    """

    images: list[Path]
    pending: list[Path]
    output: Path

    def progress_bar(self):
        done = len(self.images) - len(self.pending)
        return progress_bar("predicting", len(self.images), initial=done)

    def finish(self, faults: dict[Path, str | None]) -> list[Path]:
        """Returns the label maps' paths.

        Raises:
            UserError: if there is something wrong with an image, which `faults` tells.
        """
        told = sorted(fault for fault in faults.values() if fault)
        if told:
            more = f" And {len(told) - 10} more like these." if len(told) > 10 else ""
            raise UserError(
                f"{' '.join(told[:10])}{more} {len(self.images) - len(told)} of "
                f"{len(self.images)} images are done, in {self.output}."
            )
        return [self.output / f"{path.stem}.png" for path in self.images]


def plan_for(
    inputs: Iterable[str | Path], output: str | Path, job: dict | None = None, fresh: bool = False
) -> Plan:
    """Finds out which images are to be labelled, and tidies the folder that they go to.

    Args and what is raised before anything is written are those of `predict`.
    """
    images = find_images(inputs)
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is not a folder.")
    targets = {(output / (path.stem + ending)).resolve() for path in images for ending in _ENDINGS}
    for path in images:
        if path.resolve() in targets:
            raise UserError(f"{path}: would be overwritten. Choose another folder to write to.")
    pending = [path for path in images if fresh or not _is_done(path, output, job)]
    remove_leftovers(output, _IDLE)
    return Plan(images, pending, output)


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
        tile, scales, flip: see `fcn_keras.segmentation.make_segmenter`; for a Keras model.

    Returns:
        An iterator, which does the work: after each batch it gives the batch's files, with what
        is wrong with each of them, or None.

    Raises:
        UserError: if an argument is out of its range.
    """
    if batch_size is not None and batch_size < 1:
        raise UserError(f"`batch_size` must be at least 1. Received: {batch_size}.")
    if hasattr(network, "label"):  # a client
        label, same_size, at_once = lambda photos: _ask(network, photos), False, 4
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
            for ending, picture in zip(_ENDINGS, pictures, strict=True):
                is_label_map = ending == ".png"
                # At level 1 photographs take a third of the time, and 2 % more bytes.
                options = {"pnginfo": _note(path, job)} if is_label_map else {"compress_level": 1}
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

    from fcn_keras.segmentation import make_segmenter

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


def _ask(client, photos):
    """What a server answers; for photos that it refuses a line instead."""
    files = [_encoded(photo) for photo in photos]
    answers = client.label(files)
    for place, (photo, answer) in enumerate(zip(photos, answers, strict=True)):
        # Not all that Pillow reads is decoded there, and names may lie.
        if answer is None:
            [answer] = client.label([_as_png(photo.image)])
            answers[place] = "is refused by the server." if answer is None else answer
    for photo, class_ids in zip(photos, answers, strict=True):
        if not isinstance(class_ids, str) and class_ids.shape != photo.image.shape[:2]:
            raise UserError(
                f"{photo.path}: has {photo.image.shape[:2]} pixels, and the server answered with "
                f"{class_ids.shape}."
            )
    return answers


def _encoded(photo):
    """The bytes of a file that a server decodes."""
    if photo.path.suffix.lower() in _SERVED:
        return photo.path.read_bytes()
    return _as_png(photo.image)


def _as_png(image):
    file = BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


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


def _is_done(path, output, job):
    """Whether all files of an image are there, and its label map was made of it by this job."""
    if job is None or not all((output / (path.stem + ending)).is_file() for ending in _ENDINGS):
        return False
    try:
        with Image.open(output / f"{path.stem}.png") as label_map:
            return label_map.info.get(_NOTE) == _mark(path, job)
    except OSError:
        return False


def _note(path, job):
    note = PngInfo()
    if job is not None:
        note.add_text(_NOTE, _mark(path, job))
    return note


def _mark(path, job):
    """What stands for a file as it is, and a job."""
    file = path.stat()
    text = json.dumps([job, file.st_size, file.st_mtime_ns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_images(inputs: Iterable[str | Path]) -> list[Path]:
    """Lists image files, those of a folder in order of their names.

    Raises:
        UserError: if there are none, or two have one stem.
    """
    images = []
    for path in map(Path, inputs):
        if path.is_dir():
            # Hidden ones are no images, but what Macs keep beside each.
            found = [
                p
                for p in sorted(path.iterdir())
                if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and p.name[0] != "."
            ]
            if not found:
                raise UserError(f"{path}: holds no images ({', '.join(IMAGE_SUFFIXES)}).")
            images += found
        elif path.is_file():
            images.append(path)
        else:
            raise UserError(f"{path}: no such file or folder.")
    if not images:
        raise UserError("No images given.")
    images = [*dict.fromkeys(images)]
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
