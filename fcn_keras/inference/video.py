"""Labels films: a film of the overlay, and files of each frame."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_keras.data.files.images import open_image
from fcn_keras.data.palette import palette_for
from fcn_keras.errors import UserError
from fcn_keras.figures.label_maps import overlay
from fcn_keras.inference.film_writing import note_in, writing_film
from fcn_keras.inference.films import ENDING, Film, Frame, check_films, open_film
from fcn_keras.inference.job import (
    IDLE,
    check_tables,
    is_done,
    is_ours,
    mark_of,
    write_tables,
)
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.predict import batch_size_for
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.inference.writing import Labelled, labelled_image, write_outputs
from fcn_keras.system.files import remove_leftovers, written_whole
from fcn_keras.system.progress import progress_bar
from fcn_keras.system.threads import ahead

# What is written if nothing else is asked for.
DEFAULT = Outputs(("overlay",))


class Written(NamedTuple):
    """What has been written of a film.

    Attributes:
        frames: how many it has; 0 where the film of them had been written before.
        film: the film of the overlay; None if it was not asked for.
        folder: what holds the files of each frame; None if none were asked for.
    """

    frames: int
    film: Path | None
    folder: Path | None


def predict_video(
    segmenter: Segmenter,
    path: str | Path,
    output: str | Path,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    *,
    job: dict | None = None,
    fresh: bool = False,
    batch_size: int | None = None,
    outputs: Outputs = DEFAULT,
) -> Written:
    """Labels each frame of a film.

    Of `drive.mp4`, the format `overlay` makes `drive_overlay.mp4`, a film of the same size, in
    which each frame is shown when it was; H.264, without sound. Other formats are files of each
    frame by its number, from 0: `drive/000000.png` and what `fcn_keras.inference.predict.predict`
    writes beside label maps. A film appears when it is complete; where the work was stopped, it
    starts anew, but frames whose files are there are not labelled again.

    Args:
        segmenter: what labels the frames, see `fcn_keras.inference.opening.open_network`.
        path: the film, of any kind that FFmpeg reads.
        output: folder to write to.
        classes, colors, job, fresh, batch_size, outputs: see `predict`; but that there are label
            maps only where a format beside `overlay` is asked for.

    Raises:
        UserError: if it is no film, or PyAV is missing; if it is damaged, after all of its frames
            that can be decoded have been written.
        WriteError: if the disk refuses what is written.

    Example:

    >>> network = open_network("runs/roads-fcn8s")
    >>> predict_video(network, "drive.mp4", "labelled", network.classes, network.colors)
    """
    path, output = Path(path), Path(output)
    check_films([path], output)
    mark = None if job is None else mark_of(path, job, outputs)
    of_frames = [name for name in outputs.formats if name != "overlay"]
    folder = output / path.stem if of_frames else None
    film = output / f"{path.stem}{ENDING}" if "overlay" in outputs.formats else None
    known = bool(film and mark and not fresh and film.is_file() and note_in(film) == mark)
    if known and not folder:
        return Written(0, film, folder)
    for place in filter(None, (output, folder)):
        if place.exists() and not place.is_dir():
            raise UserError(f"{place}: is not a folder.")
    if folder:
        check_tables(folder)
        _check_ours(folder)
    remove_leftovers(output, IDLE)
    files = replace(outputs, formats=tuple(of_frames)) if folder else None
    with open_film(path) as source:
        work = _Work(segmenter, source, classes, palette_for(colors), mark, folder, files, outputs)
        with _film_like(source, film, known, mark) as writer:
            frames = work.frames(writer, fresh, batch_size)
            if not frames:
                raise UserError(f"{path}: no frame can be decoded.")
    if folder and files:
        write_tables([Path(_name(i)) for i in range(frames)], folder, files, classes)
    if source.damage:
        raise UserError(f"{path}: {'; '.join(source.damage)}. {frames} frames are done.")
    return Written(frames, film, folder)


@contextmanager
def _film_like(source, film, known, mark):
    """Gives what writes a film, or None where there is nothing to write."""
    if film is None or known:
        yield None
        return
    with written_whole(film) as aside, writing_film(aside, source, mark or "") as writer:
        yield writer


def _check_ours(folder):
    """Looks whether frames would be written over pictures of others."""
    for file in sorted(folder.glob(f"{'[0-9]' * len(_name(0))}.png")):
        if not is_ours(file):
            raise UserError(f"{file}: would be overwritten. Choose another folder to write to.")


def _name(number):
    return f"{number:06}"


class _Work(NamedTuple):
    segmenter: Segmenter
    source: Film
    classes: list[str]
    palette: np.ndarray
    mark: str | None
    folder: Path | None
    files: Outputs | None
    outputs: Outputs

    def frames(self, writer, fresh, batch_size) -> int:
        """Labels and writes all frames; returns how many there are."""
        count = 0

        def write(batch):
            """Writes labelled frames, one batch after the other, as a film must be."""
            for number, frame, found, known in batch:
                if self.folder and not known:
                    about = dict(classes=self.classes, palette=self.palette, mark=self.mark)
                    write_outputs(self.folder / _name(number), found, outputs=self.files, **about)
                if writer:
                    picture = overlay(found.image, found.class_ids, self.palette)
                    writer.write(frame._replace(image=picture))
            return len(batch)

        what = f"predicting {self.source.path.name}"
        with (
            _thread() as decoder,
            _thread() as encoder,
            progress_bar(what, self.source.frames or None, "frame") as bar,
        ):
            batches = _decoded_ahead(decoder, self._batches(fresh, batch_size))
            for done in ahead(encoder, write, map(self._label, batches), 2):
                bar.update(done)
                count += done
        return count

    def _batches(self, fresh, batch_size) -> Iterator[list[tuple[int, Frame, bool]]]:
        """Frames with their numbers, and whether their files are there."""
        batch: list[tuple[int, Frame, bool]] = []
        size = batch_size or (1 if self.outputs.need_probabilities else None)
        for number, frame in enumerate(self.source):
            size = size or self.segmenter.batch_size or batch_size_for(frame.image.shape)
            known = False
            if self.folder and self.files and not fresh:
                known = is_done(self.folder / _name(number), self.files, self.mark)
            batch.append((number, frame, known))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _label(self, batch):
        ask = self.segmenter.score if self.outputs.need_probabilities else self.segmenter.label
        pending = [frame.image for _, frame, known in batch if not known]
        answers = iter(ask(pending) if pending else ())
        labelled = []
        for number, frame, known in batch:
            if known:
                with open_image(self.folder / f"{_name(number)}.png") as label_map:
                    class_ids = np.array(label_map)
                found = Labelled(frame.image, class_ids, class_ids)
            else:
                answer = next(answers)
                if isinstance(answer, str):
                    raise UserError(f"{self.source.path}, frame {number}: {answer}")
                found = labelled_image(frame.image, answer, self.outputs)
            labelled.append((number, frame, found, known))
        return labelled


@contextmanager
def _thread():
    """Gives a pool of one thread, which has ended before the films are closed that it works on."""
    pool = ThreadPool(1)
    try:
        yield pool
    finally:
        pool.close()
        ended = False
        while not ended:
            with suppress(KeyboardInterrupt):  # a second Ctrl-C
                pool.join()
                ended = True


def _decoded_ahead(pool, batches):
    """The same batches, of which the next one is decoded while one is in use."""
    following = pool.apply_async(next, (batches, None))
    while (batch := following.get()) is not None:
        following = pool.apply_async(next, (batches, None))
        yield batch
