"""Which images are to be labelled, and which have been already."""

import functools
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL.PngImagePlugin import PngInfo

from fcn_keras.data.files.images import IMAGE_SUFFIXES, open_image
from fcn_keras.data.files.listing import entries, passed_over
from fcn_keras.data.files.rasters import RASTER_SUFFIXES
from fcn_keras.errors import UserError
from fcn_keras.inference.outputs import DEFAULT, Outputs
from fcn_keras.inference.polygons import coco_of
from fcn_keras.inference.summary import COLUMNS, SUMMARY, write_if_new, write_summary
from fcn_keras.system.files import remove_leftovers
from fcn_keras.system.progress import progress_bar

# The polygons of all images.
COCO = "coco.json"

# Under this name a label map holds what it was made of.
_NOTE = "fcn_keras"
# And under this one, which formats were left out.
_LEFT_OUT = "fcn_keras_left_out"

# Seconds after which nobody goes on with a file that was begun.
IDLE = 60


class Worklist(NamedTuple):
    """The images of a job.

    Attributes:
        images: all of them, as files.
        pending: those that have not been labelled already.
        output: the folder to write to.
        outputs: which files are written for each.
    """

    images: list[Path]
    pending: list[Path]
    output: Path
    outputs: Outputs

    def finish(
        self, batches: Iterable[dict[Path, str | None]], classes: Sequence[str]
    ) -> list[Path]:
        """Waits for the pending images with a progress bar, and writes what is of all together.

        Args:
            batches: gives for each batch, once it is labelled, its files with what is wrong with
                each of them, or None.
            classes: names of the classes.

        Returns:
            The label maps' paths, in order of the images.

        Raises:
            UserError: if there is something wrong with an image.
        """
        faults: dict[Path, str | None] = {}
        done = len(self.images) - len(self.pending)
        with progress_bar("predicting", len(self.images), initial=done) as bar:
            for batch in batches:
                faults |= {path: fault for path, fault in batch.items() if fault}
                bar.update(len(batch))
        labelled = [path for path in self.images if not faults.get(path)]
        if labelled:
            write_tables(labelled, self.output, self.outputs, classes)
        told = sorted(fault for fault in faults.values() if fault)
        if told:
            more = f" And {len(told) - 10} more like these." if len(told) > 10 else ""
            raise UserError(
                f"{' '.join(told[:10])}{more} {len(self.images) - len(told)} of "
                f"{len(self.images)} images are done, in {self.output}."
            )
        return [self.output / f"{path.stem}.png" for path in self.images]


def write_tables(
    images: Sequence[Path], output: Path, outputs: Outputs, classes: Sequence[str]
) -> None:
    """Writes what is of all images together: `summary.csv`, and `coco.json` where it is asked for.

    Args:
        images: the photographs' files, of which only the names count.
        output: the folder that holds their label maps.
        outputs: which files were written for each.
        classes: names of the classes.
    """
    write_summary(images, (output / f"{path.stem}.png" for path in images), output, classes)
    if "polygons" in outputs.formats:
        files = [(image, output / f"{image.stem}.geojson") for image in images]
        write_if_new(output / COCO, json.dumps(coco_of(files, classes)))


def make_worklist(
    inputs: Iterable[str | Path],
    output: str | Path,
    job: dict | None = None,
    fresh: bool = False,
    outputs: Outputs = DEFAULT,
) -> Worklist:
    """Finds out which images are to be labelled, and tidies the folder that they go to.

    Args and what is raised before anything is written are those of `predict`.
    """
    images = find_images(inputs, outputs)
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is not a folder.")
    _check_kept(images, output, outputs)
    check_tables(output)
    remove_leftovers(output, IDLE)
    pending = [
        path
        for path in images
        if fresh or not is_done(output / path.stem, outputs, mark_of(path, job, outputs))
    ]
    return Worklist(images, pending, output, outputs)


def _check_kept(images: Sequence[Path], output: Path, outputs: Outputs) -> None:
    """Raises a `UserError` if an image lies where one of the files would be written."""
    endings = outputs.endings.values()
    stems, folder = {path.stem for path in images}, output.resolve()
    real = functools.cache(Path.resolve)
    for path in images:
        # Folders are resolved once, whatever lies in them; a link is where it lies, and elsewhere.
        places = {real(path.parent) / path.name, *([path.resolve()] if path.is_symlink() else ())}
        if any(
            place.parent == folder
            and place.name.endswith(ending)
            and place.name.removesuffix(ending) in stems
            for place in places
            for ending in endings
        ):
            raise UserError(f"{path}: would be overwritten. Choose another folder to write to.")


def check_tables(output: Path) -> None:
    """Raises a `UserError` if a folder has tables of others, under the names of `write_tables`."""
    for name, begins in ((SUMMARY, ",".join(COLUMNS)), (COCO, '{"images": [')):
        file = output / name
        if file.is_file() and not file.read_bytes().startswith(begins.encode()):
            raise UserError(f"{file}: would be overwritten. Choose another folder to write to.")


def is_done(target: Path, outputs: Outputs, mark: str | None) -> bool:
    """Whether all files of an image are there, and its label map bears a mark.

    But for the pictures of a large image, of which the label map says that they are left out.

    Args:
        target: their path, without what `Outputs.endings` adds.
        outputs: which files they are.
        mark: see `mark_of`; nothing is done if None.
    """
    # Of most images that are to be labelled there is nothing yet.
    if mark is None or not target.with_name(f"{target.name}.png").is_file():
        return False
    missing = {
        name
        for name, ending in outputs.endings.items()
        if not target.with_name(target.name + ending).is_file()
    }
    # What a large image does not have, if nobody has asked for it by name.
    if missing and outputs.formats != DEFAULT.formats:
        return False
    notes = _notes_in(target.with_name(f"{target.name}.png"))
    return notes.get(_NOTE) == mark and missing <= {*notes.get(_LEFT_OUT, "").split(",")}


def is_ours(label_map: Path) -> bool:
    """Whether a label map has been written by `fcn_keras.inference.writing.write_outputs`."""
    return any(str(key).startswith(_NOTE) for key in _notes_in(label_map))


def _notes_in(path):
    try:
        with open_image(path) as label_map:
            return label_map.info
    except UserError:
        return {}


def note_of(mark: str | None, left_out: Sequence[str] = ()) -> PngInfo:
    """Returns what a label map is to hold beside its pixels: a mark, if there is one.

    Args:
        mark: see `mark_of`.
        left_out: formats that were not written, as the image is too large for them.
    """
    note = PngInfo()
    if left_out:
        note.add_text(_LEFT_OUT, ",".join(left_out))
    if mark is not None:
        note.add_text(_NOTE, mark)
    return note


def mark_of(path: Path, job: dict | None, outputs: Outputs) -> str | None:
    """Returns what stands for a file as it is, and what is made of it.

    Args:
        path: an image, or a film.
        job: see `fcn_keras.inference.predict.predict`; there is no mark if None.
        outputs: which files are written.
    """
    if job is None:
        return None
    file = path.stat()
    text = json.dumps([job | outputs.job, file.st_size, file.st_mtime_ns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_images(inputs: Iterable[str | Path], outputs: Outputs = DEFAULT) -> list[Path]:
    """Lists image files, those of a folder in order of their names.

    Which photographs in a folder cannot be decoded is told on standard error.

    Args:
        inputs: image files, and folders of them.
        outputs: which files are to be written for each.

    Raises:
        UserError: if there are none, or two would write one file.
    """
    images: list[Path] = []
    for path in map(Path, inputs):
        if path.is_dir():
            images += _images_in(path)
        elif path.is_file():
            images.append(path)
        else:
            raise UserError(f"{path}: no such file or folder.")
    if not images:
        raise UserError("No images given.")
    images = [*dict.fromkeys(images)]
    _check_apart(images, [*outputs.endings.values()])
    return images


def _check_apart(images, endings):
    """Raises a `UserError` if two images would write one file."""
    # Of two files of one name, one's stem is the other's with what its ending has before that.
    more = {
        longer.removesuffix(ending): longer
        for longer in endings
        for ending in endings
        if longer.endswith(ending)
    }
    writers: dict[str, Path] = {}
    for path in images:
        others = [(path.stem, path.stem + endings[0])]
        for middle, ending in more.items():
            if middle:
                others.append((path.stem + middle, path.stem + ending))
                if path.stem.endswith(middle):
                    stem = path.stem.removesuffix(middle)
                    others.append((stem, stem + ending))
        for stem, name in others:
            if stem in writers:
                raise UserError(
                    f"{writers[stem]} and {path} would both write {name}: predict them into "
                    "different folders."
                )
        writers[path.stem] = path


def _images_in(folder):
    files = [path for path in entries(folder) if path.is_file()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    # Arrays lie beside other things; where there is nothing else, they are meant.
    arrays = [path for path in files if path.suffix.lower() in RASTER_SUFFIXES]
    if arrays and not images:
        return arrays
    undecoded = passed_over(files, IMAGE_SUFFIXES)
    if not images:
        others = f", but {undecoded}" if undecoded else ""
        raise UserError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}){others}.")
    if undecoded:
        counts = sorted(Counter(path.suffix.lower() for path in images).items())
        read = ", ".join(f"{count} {suffix}" for suffix, count in counts)
        print(f"{folder}: read are {read}; passed over are {undecoded}", file=sys.stderr)
    return images
