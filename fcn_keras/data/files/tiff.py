"""TIFF files of any number of channels, read as a whole or window by window, by tifffile."""

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fcn_keras.errors import UserError

# Axes of a picture, as tifffile calls them; all others are channels.
_ROWS, _COLUMNS = "Y", "X"

_ORIENTATION = "Orientation"
_UPRIGHT = 1
_BLACK_IS_ZERO = 1
_SEPARATE = 2  # a planar configuration
GDAL_NODATA = 42113
_JPEG = (6, 7, 34892, 33007)  # compressions whose segments share tables

# What tells where a picture lies on the earth.
GEO_TAGS = {
    33550: "ModelPixelScale",
    33922: "ModelTiepoint",
    34264: "ModelTransformation",
    34735: "GeoKeyDirectory",
    34736: "GeoDoubleParams",
    34737: "GeoAsciiParams",
}


class Tiff:
    """An open TIFF file: the first picture in it that is none of a reduced size, with its pages as
    channels.

    Args:
        path: the file.

    Attributes:
        shape: height, width and number of channels.
        dtype: of its numbers.
        nodata: the number that stands for nothing; None if the file has none.

    Raises:
        UserError: if tifffile is missing.
        ValueError: if it cannot be read as a picture, and why.
    """

    def __init__(self, path: str | Path):
        try:
            import tifffile
        except ImportError as error:
            raise UserError(
                f"{path}: TIFF files are read channel by channel by tifffile: pip install "
                "'fcn_keras[tiff]'."
            ) from error
        # It says on its log what it makes of odd tags, which a user can do nothing about.
        tifffile.logger().setLevel("CRITICAL")
        self._file = tifffile.TiffFile(path)
        try:
            self._open(path)
        except BaseException:
            self._file.close()
            raise

    def _open(self, path):
        if not self._file.series:
            raise ValueError("it holds no picture")
        # Previews and overviews are pictures of their own.
        whole = [series for series in self._file.series if not series.keyframe.is_reduced]
        series = self._series = (whole or self._file.series)[0]
        page = series.keyframe
        if page.colormap is not None:
            raise ValueError("its numbers are entries of a palette: save it in its colours")
        if page.tags.valueof(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
            raise ValueError("its tag says that it lies turned: save it upright")
        sizes = dict(zip(series.axes, series.shape, strict=True))
        if _ROWS not in sizes or _COLUMNS not in sizes:
            raise ValueError(f"its axes are {series.axes}, without rows (Y) and columns (X)")
        height, width = sizes[_ROWS], sizes[_COLUMNS]
        self.dtype = np.dtype(series.dtype).newbyteorder("=")
        self.shape = height, width, series.size // height // width
        self._pages = [*series.pages]
        # Stacks that one page tells of all are decoded as a whole.
        self._in_segments = None not in self._pages and (
            len(self._pages) * page.samplesperpixel == self.shape[2] and page.imagedepth == 1
        )
        self.nodata = _nodata(page)
        self._mapped = None
        if series.dataoffset is not None:  # plain numbers, one after the other
            stored = np.dtype(series.dtype).newbyteorder(self._file.byteorder)
            self._mapped = np.memmap(path, stored, "r", series.dataoffset, series.shape)

    def __enter__(self) -> "Tiff":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def rows_at_once(self) -> int | None:
        """See `fcn_keras.data.files.rasters.Raster`."""
        page = self._series.keyframe
        if self._mapped is not None or self._in_segments and page.is_tiled:
            return None
        return min(page.rowsperstrip, self.shape[0]) if self._in_segments else self.shape[0]

    @property
    def is_grey(self) -> bool:
        """Whether it holds nothing but one picture, each pixel of which is a number of 8 bits."""
        page = self._series.keyframe
        return (
            len(self._file.pages) == 1
            and self.shape[2] == 1
            and self.dtype == np.uint8
            and page.bitspersample == 8
            and page.photometric == _BLACK_IS_ZERO
        )

    def read(self, rows: slice | None = None, columns: slice | None = None) -> np.ndarray:
        """Returns a window of the picture, `(h, w, C)`, and decodes no more than it touches.

        Args:
            rows, columns: the window, within the picture; all of it if not given.
        """
        rows, columns = rows or slice(0, self.shape[0]), columns or slice(0, self.shape[1])
        if self._mapped is not None:
            return self._last_channels(self._mapped, rows, columns)
        if not self._in_segments:
            return self._last_channels(self._series.asarray(), rows, columns)
        sides = rows.stop - rows.start, columns.stop - columns.start
        window = np.empty((*sides, self.shape[2]), self.dtype)
        depth = self._series.keyframe.samplesperpixel
        for number, page in enumerate(self._pages):
            part = window[..., number * depth : (number + 1) * depth]
            self._fill(part, page, rows.start, columns.start)
        return window

    def _last_channels(self, picture, rows, columns):
        """A window of an array in the file's own order of axes."""
        axes = self._series.axes
        picture = np.moveaxis(picture, (axes.index(_ROWS), axes.index(_COLUMNS)), (0, 1))
        window = picture[rows, columns]
        return np.ascontiguousarray(window.reshape(*window.shape[:2], -1), self.dtype)

    def _fill(self, window, page, top, left):
        """Fills a window `(h, w, S)` of a page from the tiles or strips that it touches."""
        keyframe = page.keyframe
        bottom, right = top + window.shape[0], left + window.shape[1]
        tables = {}
        if keyframe.compression in _JPEG:
            tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        touched = _touched(keyframe, top, bottom, left, right)
        offsets, lengths = (
            [numbers[index] for index in touched]
            for numbers in (page.dataoffsets, page.databytecounts)
        )
        segments = self._file.filehandle.read_segments(offsets, lengths, indices=touched)
        for encoded, index in segments:
            data, (sample, _, y, x, _), (_, height, width, samples) = keyframe.decode(
                encoded, index, **tables
            )
            inner_rows = slice(max(y, top) - y, min(y + height, bottom) - y)
            inner_columns = slice(max(x, left) - x, min(x + width, right) - x)
            target = window[
                inner_rows.start + y - top : inner_rows.stop + y - top,
                inner_columns.start + x - left : inner_columns.stop + x - left,
                sample : sample + samples,
            ]
            # What a file leaves out has the value that stands for nothing.
            target[:] = keyframe.nodata if data is None else data[0, inner_rows, inner_columns]


def geo_tags(path: str | Path) -> list[tuple[int, int, int, Any, bool]]:
    """Returns what a TIFF file says of its place on the earth, as `tifffile` takes `extratags`.

    Nothing if it lies turned: the tags are of the pixels as they are stored.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        if tags.valueof(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
            return []
        found = [(code, tags[code]) for code in GEO_TAGS if code in tags]
        return [(code, int(tag.dtype), tag.count, tag.value, True) for code, tag in found]


def _nodata(page):
    """GDAL's own tag, which is text."""
    text = page.tags.valueof(GDAL_NODATA)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _touched(page, top, bottom, left, right):
    """The numbers of the tiles or strips that a window of a page has pixels of."""
    height, width = (
        (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    )
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    # Each sample by itself, or all together.
    layers = page.samplesperpixel if page.planarconfig == _SEPARATE else 1
    return [
        (layer * down + row) * across + column
        for layer in range(layers)
        for row in range(top // height, -(-bottom // height))
        for column in range(left // width, -(-right // width))
    ]
