"""Made films, and films read by PyAV alone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def pictures(count, size=(48, 64)):
    """Squares of flat colour in other places and colours in each frame, `(count, H, W, 3)`."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(0, 256, (count, -(-size[0] // 8), -(-size[1] // 8), 3), "uint8")
    return coarse.repeat(8, 1).repeat(8, 2)[:, : size[0], : size[1]]


def write_film(
    path, count=12, size=(48, 64), *, codec="libx264", pixels="yuv420p", rate=30, times=None, **more
):
    """Writes `pictures` as a film.

    Args:
        times: milliseconds at which frames are shown; by `rate` if not given.
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


def turn(path):
    """Lets an MP4 file say that it is shown turned by a quarter, clockwise, as phones do."""
    content = bytearray(path.read_bytes())
    one = (1 << 16).to_bytes(4, "big")
    minus, zero = (-(1 << 16)).to_bytes(4, "big", signed=True), bytes(4)
    upright = one + zero * 3 + one + zero * 3 + (1 << 30).to_bytes(4, "big")
    turned = zero + one + zero + minus + zero * 4 + (1 << 30).to_bytes(4, "big")
    place = content.index(upright, content.index(b"tkhd"))
    content[place : place + 36] = turned
    path.write_bytes(content)
