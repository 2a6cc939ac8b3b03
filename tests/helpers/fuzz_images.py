"""Altered image files, of which only `UserError` may come.

    PYTHONPATH=tests python -m helpers.fuzz_images --files 20000

tells what came, and ends with 1 if that was anything else, took more than 10 seconds a file, or
1 GB of memory.
"""

import argparse
import io
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.files.images import read_image, read_size
from fcn_keras.data.files.masks import read_mask
from fcn_keras.errors import UserError

MAX_SECONDS, MAX_BYTES = 10, 1 << 30


def originals():
    """Valid files of ten formats and several kinds of each, by their names."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    array = np.stack([4 * x, 5 * y, 128 + x - y], -1) + rng.integers(0, 8, (48, 64, 3))
    photo = Image.fromarray(array.clip(0, 255).astype("uint8"))
    ids = Image.fromarray(((x // 16 + y // 16) % 5).astype("uint8"))
    palette = ids.copy()
    palette.putpalette(rng.integers(0, 256, 768, dtype="uint8").tobytes())
    deep = Image.fromarray((array[..., 0] * 257).astype("uint16"))
    alpha = photo.copy()
    alpha.putalpha(ids)
    exif = Image.Exif()
    exif[0x010E], exif[0x0112], exif[0x011A] = "a description", 6, 72.5
    xmp = b'<x tiff:Orientation="6"/>'
    kinds = {
        "a.jpg": (photo, dict(exif=exif, xmp=xmp)),
        "progressive.jpg": (photo, dict(progressive=True)),
        "cmyk.jpg": (photo.convert("CMYK"), {}),
        "grey.jpg": (photo.convert("L"), {}),
        "a.mpo": (photo, dict(save_all=True, append_images=[photo])),
        "a.png": (photo, dict(exif=exif)),
        "grey.png": (ids, {}),
        "palette.png": (palette, dict(transparency=3)),
        "one-bit.png": (ids.convert("1"), {}),
        "deep.png": (deep, {}),
        "animated.png": (photo, dict(save_all=True, append_images=[photo.rotate(90)])),
        "a.gif": (palette, {}),
        "animated.gif": (palette, dict(save_all=True, append_images=[palette.rotate(180)])),
        "a.bmp": (photo, {}),
        "palette.bmp": (palette, {}),
        "lossy.webp": (photo, dict(exif=exif)),
        "lossless.webp": (alpha, dict(lossless=True)),
        "raw.tif": (photo, dict(exif=exif)),
        "lzw.tif": (palette, dict(compression="tiff_lzw")),
        "deflate.tif": (photo, dict(compression="tiff_adobe_deflate")),
        "jpeg.tif": (photo, dict(compression="jpeg")),
        "packbits.tif": (ids, dict(compression="packbits")),
        "fax.tif": (ids.convert("1"), dict(compression="group4")),
        "deep.tif": (deep, {}),
        "a.avif": (photo, dict(exif=exif)),
        "a.ppm": (photo, {}),
        "a.pgm": (ids, {}),
        "a.jp2": (photo, {}),
        "a.j2k": (ids, {}),
        "a.tga": (photo, dict(compression="tga_rle")),
    }
    formats = {".tif": "TIFF", ".j2k": "JPEG2000", ".pgm": "PPM"} | Image.registered_extensions()
    files = {}
    for name, (image, options) in kinds.items():
        file = io.BytesIO()
        format = formats[Path(name).suffix]
        image.save(file, format, **options | ({"no_jp2": True} if name.endswith("j2k") else {}))
        files[name] = file.getvalue()
    return files


def flipped(data, rng):
    array = np.frombuffer(data, "uint8").copy()
    for _ in range(rng.integers(1, 9)):
        array[rng.integers(len(array))] ^= 1 << rng.integers(8)
    return array.tobytes()


def cut(data, rng):
    start, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    return rng.choice([data[:end], data[:start] + data[end:]])


def inserted(data, rng):
    place = int(rng.integers(len(data)))
    what = rng.choice([rng.bytes(rng.integers(1, 99)), bytes(rng.integers(1, 99)), data[:place]])
    return data[:place] + bytes(what) + data[place:]


def swapped(data, rng):
    a, b, c = sorted(rng.integers(0, len(data) + 1, 3).tolist())
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def renumbered(data, rng):
    """Another number in the head, such as a width."""
    array = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        kind = "<>"[rng.integers(2)] + "BHI"[rng.integers(3)]
        size = struct.calcsize(kind)
        place = int(rng.integers(min(len(data) - size, 200)))
        top = (1 << 8 * size) - 1
        number = [0, 1, top, top // 2, top // 2 + 1, int(rng.integers(top))][rng.integers(6)]
        array[place : place + size] = struct.pack(kind, number)
    return bytes(array)


def altered(number, files):
    """The name and the contents of an altered file, the same for the same number."""
    rng = np.random.default_rng(number)
    name = list(files)[number % len(files)]
    data = files[name]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = [flipped, cut, inserted, swapped, renumbered, renumbered][rng.integers(6)]
        data = bytes(change(data, rng)) or b"\0"
    return name, data


def outcomes(path):
    """What came of reading a file in each way: "read", "refused", or what it should not."""
    shapes = {}
    for read in (read_image, read_size, read_mask):
        start = time.perf_counter()
        try:
            result = read(path)
            shapes[read] = result if read is read_size else result.shape[:2]
            outcome = "read"
        except UserError as error:
            wrong = str(path) not in str(error) or "\n" in str(error)
            outcome = f"odd message: {error}" if wrong else "refused"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = f"{read.__name__}: {type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        yield outcome if seconds < MAX_SECONDS else f"{read.__name__} took {seconds:.0f} s"
    if shapes.get(read_image, shapes.get(read_size)) != shapes.get(read_size):
        yield f"read_image and read_size differ: {shapes}"


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(files, first=0, show=print):
    """Reads altered files, and returns how many did what they should not."""
    unaltered, counts, faults, slowest = originals(), Counter(), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, data in unaltered.items():  # what is loaded once counts as no file's
            (Path(folder) / name).write_bytes(data)
            assert "refused" not in [*outcomes(Path(folder) / name)][:2], name
        start = before = peak()
        for number in range(first, first + files):
            name, data = altered(number, unaltered)
            path = Path(folder) / name
            path.write_bytes(data)
            began = time.perf_counter()
            for outcome in outcomes(path):
                good = outcome in ("read", "refused")
                counts[outcome if good else "fault"] += 1
                if not good:
                    faults += 1
                    show(f"{number} {name}: {outcome}")
            slowest = max(slowest, time.perf_counter() - began)
            if peak() - before > MAX_BYTES / 16:
                before = peak()
                show(f"{number} {name}: memory is {(before - start) >> 20} MB above its start")
    grown = peak() - start
    show(f"{files} files: {dict(counts)}; slowest {slowest:.1f} s; {grown >> 20} MB at most")
    return faults + (grown > MAX_BYTES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    arguments = parser.parse_args()
    sys.exit(bool(main(arguments.files, arguments.first)))
