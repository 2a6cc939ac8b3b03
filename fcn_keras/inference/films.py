"""Films, read and written frame by frame by PyAV (the extra `video`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcn_keras.errors import UserError

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv")

# What nearly every player and browser shows; at this quality a film looks as it did.
_CODEC, _QUALITY = "libx264", {"crf": "20", "preset": "veryfast"}

# Of ITU-R BT.709 in the usual range: what players take films of today's sizes for.
_BT709, _LIMITED = 1, 1


# What is added to a film's stem in the name of the film that is made of it.
ENDING = "_overlay.mp4"


def check_films(paths: Sequence[Path], output: str | Path) -> None:
    """Looks whether films can be read, and none would be written over.

    Args:
        paths: films.
        output: the folder to write to.

    Raises:
        UserError: if not; or if PyAV is missing, and there are any.
    """
    writers: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        if not path.is_file():
            raise UserError(f"{path}: no such file.")
        if path.stem in writers:
            raise UserError(
                f"{writers[path.stem]} and {path} would both write {path.stem}{ENDING}: predict "
                "them into different folders."
            )
        writers[path.stem] = path
    for path in paths:
        _pyav(path)
        if path.resolve() in {Path(output, stem + ENDING).resolve() for stem in writers}:
            raise UserError(f"{path}: would be overwritten. Choose another folder to write to.")


class Frame(NamedTuple):
    """A frame of a film.

    Attributes:
        image: uint8 `(H, W, 3)`, RGB, turned as it is shown.
        start, duration: when it is shown and for how long, in the film's `time_base`.
    """

    image: np.ndarray
    start: int
    duration: int


class Film:
    """A film that is read.

    Attributes:
        path: its file.
        frames: how many frames it has by its header; 0 where the header does not tell.
        rate: frames a second, on average.
        time_base: what `start` and `duration` of frames are counted in, in seconds.
        damage: what is wrong with it, in words, as far as its frames have been decoded.
    """

    def __init__(self, path: Path, container: Any):
        self.path, self._container = path, container
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = self._stream.average_rate or Fraction(25)
        self.time_base: Fraction = self._stream.time_base or 1 / self.rate
        self.frames: int = self._stream.frames
        self.damage: list[str] = []

    @property
    def pixel_aspect(self) -> Fraction:
        """How much wider than high a pixel of the frames is to be shown."""
        return self._stream.sample_aspect_ratio or Fraction(1)

    def __iter__(self) -> Iterator[Frame]:
        """Decodes its frames, in the order in which they are shown, and tells `damage` of them."""
        import av

        usual = max(round(1 / self.rate / self.time_base), 1)
        # AVI files tell no times, and what is made up for them goes wrong with B-frames.
        timed = self._container.format.name != "avi"
        first = start = end = 0
        count = broken = 0
        try:
            for frame in self._container.decode(self._stream):
                broken += frame.is_corrupt
                told = frame.pts if timed and frame.pts is not None else end
                start = max(told, start + 1) if count else told  # no two are shown at one time
                first, duration = first if count else start, frame.duration or usual
                image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                yield Frame(np.ascontiguousarray(image), start, duration)
                end, count = start + duration, count + 1
        except av.FFmpegError as error:
            self.damage.append(f"frame {count} cannot be decoded ({error.strerror})")
        if broken:
            self.damage.append(f"{broken} frames are damaged, and labelled as they look")
        missing = self._told() - (end - first) * self.time_base
        if missing > 0:
            self.damage.append(f"{float(missing):.1f} s are missing at its end")

    def _told(self):
        """The least that it must last by what its header says, in seconds."""
        if self._stream.duration is not None:
            return self._stream.duration * self.time_base - 3 / self.rate
        # Of all its streams the longest, which may be the sound.
        return Fraction(self._container.duration or 0, 1_000_000) - 2


@contextmanager
def open_film(path: Path) -> Iterator[Film]:
    """Opens a film to read it.

    Raises:
        UserError: if PyAV is missing, or the file is no film.

    Example:

    >>> with open_film(Path("drive.mp4")) as film:
    ...     frames = [frame.image for frame in film]
    """
    av = _pyav(path)
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise UserError(f"{path}: cannot be opened as a film: {error.strerror}.") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path}: holds no pictures.")
        yield Film(path, container)


def note_in(path: Path) -> str:
    """Returns what a film has noted that `writing_film` wrote; "" for any other."""
    import av

    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment", "")
    except (av.FFmpegError, OSError):
        return ""


class FilmWriter:
    """A film that is written: H.264 in an MP4 file, without sound.

    Args:
        container: the file, as PyAV opens it.
        like: the film whose rate and times it has.
    """

    def __init__(self, container: Any, like: Film):
        self._container, self._like = container, like
        self._stream: Any = None

    def write(self, frame: Frame) -> None:
        """Adds a frame; the first one tells the film's size."""
        from av import VideoFrame

        if self._stream is None:
            self._begin(*frame.image.shape[:2])
        picture = VideoFrame.from_ndarray(frame.image, format="rgb24")
        context = self._stream.codec_context
        picture = picture.reformat(format=context.pix_fmt, dst_colorspace=_BT709)
        picture.pts, picture.time_base = frame.start, self._like.time_base
        picture.duration = frame.duration
        self._container.mux(self._stream.encode(picture))

    def _begin(self, height, width):
        self._stream = self._container.add_stream(_CODEC, self._like.rate, options=_QUALITY)
        context = self._stream.codec_context
        context.width, context.height = width, height
        # Half as many numbers for colour as for light fit even sizes alone.
        context.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        context.time_base = self._stream.time_base = self._like.time_base
        context.sample_aspect_ratio = self._like.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED

    def close(self) -> None:
        """Writes what has been kept back."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())


@contextmanager
def writing_film(path: Path, like: Film, note: str = "") -> Iterator[FilmWriter]:
    """Opens a film to write it.

    Args:
        path: where; nothing that is there is kept.
        like: the film whose rate and times it has.
        note: a text to keep in it, see `note_in`; it is not kept if `like` turns out damaged.
    """
    import av

    # The table of frames stands in front, so that a browser shows it while it loads.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata["comment"] = note
        writer = FilmWriter(container, like)
        yield writer
        writer.close()
    if note and like.damage:
        _forget(path, note)


def _forget(path, note):
    """Puts spaces for the note, which had to be written before the frames."""
    with open(path, "r+b") as file, mmap(file.fileno(), 0) as content:
        place = content.find(note.encode())
        content[place : place + len(note)] = b" " * len(note)


def _pyav(path):
    try:
        import av
    except ImportError as error:
        raise UserError(f"{path}: films need PyAV: pip install 'fcn_keras[video]'.") from error
    return av
