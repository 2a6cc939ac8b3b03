"""Made films, and films read by PyAV alone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition


def pictures(count, size=(48, 64)):
    """Squares of flat colour in other places and colours in each frame, `(count, H, W, 3)`."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(0, 256, (count, -(-size[0] // 8), -(-size[1] // 8), 3), "uint8")
    return coarse.repeat(8, 1).repeat(8, 2)[:, : size[0], : size[1]]


def write_film(
    path,
    count=12,
    size=(48, 64),
    *,
    codec="libx264",
    pixels="yuv420p",
    rate=30,
    times=None,
    cover=False,
    **more,
):
    """Writes `pictures` as a film.

    Args:
        times: milliseconds at which frames are shown; by `rate` if not given.
        cover: whether to put a picture beside it, of what it is about.
        more: what the stream's codec is set to.
    """
    options = {"movflags": "+faststart"} if Path(path).suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in more.items():
            setattr(stream.codec_context, name, value)
        if cover:
            about = container.add_stream("mjpeg", rate=1)
            about.height, about.width, about.pix_fmt = 16, 16, "yuvj420p"
            about.disposition = Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(pictures(1, (16, 16))[0], format="rgb24")
            container.mux(about.encode(picture) + about.encode())
        for number, picture in enumerate(pictures(count, size)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_film(path):
    """Returns a film's frames, uint8 `(N, H, W, 3)`, and when they are shown, in seconds."""
    with av.open(str(path)) as container:
        found = [(f.to_ndarray(format="rgb24"), f.time) for f in container.decode(video=0)]
    images, times = zip(*found, strict=True)
    return np.stack(images), [*times]


def turn(path, right=(0, 1), down=(-1, 0)):
    """Lets an MP4 file say how it is shown, which is turned clockwise unless given, as phones do.

    Args:
        right, down: where a step to the right leads in the picture that is shown, and one down.
    """
    content = bytearray(path.read_bytes())

    def row(x, y):
        return b"".join((n << 16).to_bytes(4, "big", signed=True) for n in (x, y)) + bytes(4)

    last = bytes(8) + (1 << 30).to_bytes(4, "big")
    place = content.index(row(1, 0) + row(0, 1) + last, content.index(b"tkhd"))
    content[place : place + 36] = row(*right) + row(*down) + last
    path.write_bytes(content)
