"""Label maps as TIFF files that lie where their image does, for programs that draw maps."""

from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.rasters import TIFF_SUFFIXES
from fcn_keras.data.files.tiff import GDAL_NODATA, geo_tags

_TILE = 256

_NODATA = (GDAL_NODATA, "s", 0, str(IGNORE_LABEL), True)

# Beyond 4 GB a file needs wider offsets, which is decided before it is compressed.
_BIG = (1 << 32) - (1 << 25)


def write_label_tiff(path: Path, class_ids: np.ndarray, source: Path | None = None) -> None:
    """Writes a label map as a grey TIFF of 8 bits, compressed losslessly in tiles.

    Args:
        path: the file to write.
        class_ids: uint8 `(H, W)`; 255, void, is what programs take for no value.
        source: the image's file. If it is a TIFF, what it says of its place on the earth (scale,
            tie points, transformation, reference system) holds for the label map too.
    """
    import tifffile

    place = geo_tags(source) if source and source.suffix.lower() in TIFF_SUFFIXES else []
    tifffile.imwrite(
        path,
        class_ids,
        photometric="minisblack",
        compression="zlib",
        # A tile is stored whole, however small the picture.
        tile=(_TILE, _TILE) if min(class_ids.shape) >= _TILE else None,
        bigtiff=class_ids.nbytes > _BIG,
        metadata=None,
        extratags=[*place, _NODATA],
    )
