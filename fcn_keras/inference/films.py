"""Films, read frame by frame by PyAV (the extra `video`)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcn_keras.errors import UserError

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv")

# Seconds after which the times of a film begin that are those of a clock.
_LATE = 1

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
        pixel_aspect: how much wider than high a pixel of a frame is to be shown, as far as its
            frames have been decoded: with a frame it may be turned.
        damage: what is wrong with it, in words, as far as its frames have been decoded.
    """

    def __init__(self, path: Path, container: Any, stream: Any):
        self.path, self._container, self._stream = path, container, stream
        self._stream.thread_type = "AUTO"
        self.rate = self._stream.average_rate or Fraction(25)
        self.time_base: Fraction = self._stream.time_base or 1 / self.rate
        self.frames: int = self._stream.frames
        self.pixel_aspect: Fraction = self._stream.sample_aspect_ratio or Fraction(1)
        self.damage: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """Decodes its frames, in the order in which they are shown, and tells `damage` of them."""
        clock = _Clock(1 / self.rate / self.time_base, round(_LATE / self.time_base))
        broken = count = 0
        for frame, told in self._decoded():
            broken += frame.is_corrupt
            image, turned = _as_shown(frame)
            if not count and turned:
                self.pixel_aspect = 1 / self.pixel_aspect
            start, duration = clock.time_of(told, frame.duration)
            yield Frame(np.ascontiguousarray(image), start, duration)
            count += 1
        if broken:
            self.damage.append(f"{broken} frames are damaged, and labelled as they look")
        if count:
            missing = float(self._told(clock) * self.time_base) - 3 / float(self.rate)
            if missing > 0:
                self.damage.append(f"{missing:.1f} s are missing at its end")

    def _decoded(self):
        """The frames with when they are shown, None where nothing tells."""
        import av

        # AVI files tell no times of frames, and what is made up for them goes wrong with B-frames:
        # frames come in the order in which they are shown, and packets have all of the times.
        avi = self._container.format.name == "avi"
        times: list[int] = []
        lost = 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.size and packet.dts is not None:
                    heappush(times, packet.dts)
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    lost += 1
                    continue
                for frame in frames:
                    yield frame, (heappop(times) if times else None) if avi else frame.pts
        except av.FFmpegError as error:
            self.damage.append(f"it cannot be read on ({error.strerror})")
        if lost:
            self.damage.append(f"{lost} pieces cannot be decoded, and are left out")

    def _told(self, clock):
        """How much longer it should last by what its header says."""
        if self._stream.duration is not None:
            return self._stream.duration - (clock.end - clock.first)
        tag = self._stream.metadata.get("DURATION", "")
        found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", tag)
        if found:  # Matroska's, which is when it ends
            hours, minutes, seconds = found.groups()
            told = 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
        else:  # of all its streams the longest, which may be the sound
            told = Fraction(self._container.duration or 0, 1_000_000) - 2
            told += Fraction(self._container.start_time or 0, 1_000_000)
        return told / self.time_base - (clock.end + clock.begun)


class _Clock:
    """When frames are shown: from about 0 on, later from frame to frame.

    Attributes:
        first, end: when the first frame is shown, and until when the last one.
        begun: what has been taken off the times of the film.
    """

    def __init__(self, usual, late):
        self._usual, self._late = max(round(usual), 1), late
        self.first = self.end = self.begun = 0
        self._last: int | None = None

    def time_of(self, told, duration):
        """When a frame is shown, and for how long."""
        duration = duration or self._usual
        if self._last is None:
            told = told or 0
            # Recorded broadcasts begin at any time of a clock.
            self.begun = told if abs(told) > self._late else 0
            start = self.first = told - self.begun
        else:
            start = self.end if told is None else told - self.begun
            if start < self._last - 2 * self._usual:  # a clock that starts again
                self.begun += start - self.end
                start = self.end
            start = max(start, self._last + 1)
        self._last, self.end = start, start + duration
        return start, duration


def _as_shown(frame):
    """A frame's pixels, turned and mirrored as its film says; and whether by a quarter."""
    image = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image, False
    # How far right and down a step to the right leads, and one down.
    right, right_down, _, down_right, down = np.frombuffer(bytes(matrix), "<i4")[:5]
    turned = bool(abs(right) < abs(right_down))
    if turned:
        image, right, down = image.swapaxes(0, 1), down_right, right_down
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1], turned


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
        container = av.open(address(path))
    except av.FFmpegError as error:
        raise UserError(f"{path}: cannot be opened as a film: {error.strerror}.") from error
    with container:
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            raise UserError(f"{path}: holds no moving pictures.")
        best = container.streams.best("video")
        yield Film(path, container, best if best in streams else streams[0])


def _is_cover(stream):
    """Whether it is a picture of what the film is about."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def address(path: Path) -> str:
    """Returns a path as FFmpeg takes it, for which a colon ends the name of a protocol."""
    return f"file:{path}"


def _pyav(path):
    try:
        import av
    except ImportError as error:
        raise UserError(f"{path}: films need PyAV: pip install 'fcn_keras[video]'.") from error
    return av
