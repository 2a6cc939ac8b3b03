"""Films, written frame by frame by PyAV (the extra `video`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from typing import Any

from fcn_keras.inference.films import Film, Frame, address

# What nearly every player and browser shows; at this quality a film looks as it did.
_CODEC, _QUALITY = "libx264", {"crf": "20", "preset": "veryfast"}

# Of ITU-R BT.709 in the usual range: what players take films of today's sizes for.
_BT709, _LIMITED = 1, 1


def note_in(path: Path) -> str:
    """Returns what a film has noted that `writing_film` wrote; "" for any other."""
    import av

    try:
        with av.open(address(path)) as container:
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
    with av.open(address(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
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
