"""Label maps as TIFF, read again by rasterio."""

import warnings

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError
from fcn_keras.inference import outputs
from fcn_keras.inference.label_tiff import write_label_tiff
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.predict import predict

rasterio = pytest.importorskip("rasterio")
tifffile = pytest.importorskip("tifffile")

CLASSES, COLORS = ["ground", "cat", "dog"], [(1, 2, 3), (250, 0, 9), (0, 255, 70)]
PLACE = rasterio.transform.Affine(0.5, 0, 399000, 0, -0.5, 5820000)
TURNED = rasterio.transform.Affine(0.4, 0.3, 399000, 0.3, -0.4, 5820000)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))


def pixels(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), "uint8")


def write_geotiff(path, image, transform=PLACE, crs="EPSG:25833", **options):
    about = dict(height=image.shape[0], width=image.shape[1], count=3, dtype="uint8")
    with rasterio.open(
        path, "w", "GTiff", **about, transform=transform, crs=crs, **options
    ) as file:
        file.write(np.moveaxis(image, 2, 0))


@pytest.mark.parametrize("transform", [PLACE, TURNED])
@pytest.mark.parametrize("size", [(300, 517), (40, 31)])
def test_a_geotiff_gives_one(network, tmp_path, transform, size):
    path = tmp_path / "in.tif"
    write_geotiff(path, pixels(*size), transform, photometric="RGB", nodata=7)
    asked = Outputs(("mask", "tif"))
    [mask] = predict(network, [path], tmp_path / "out", CLASSES, COLORS, outputs=asked)
    found = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert found == ["in.png", "in_labels.tif", "summary.csv"]
    with rasterio.open(path) as image, rasterio.open(tmp_path / "out" / "in_labels.tif") as labels:
        assert labels.transform == image.transform and labels.crs == image.crs
        assert labels.count == 1 and labels.dtypes == ("uint8",) and labels.nodata == 255
        assert labels.compression.name == "deflate" and labels.colorinterp[0].name == "gray"
        assert labels.profile["tiled"] == (min(size) >= 256)
        values = labels.read(1)
    with Image.open(mask) as picture:
        np.testing.assert_array_equal(values, picture)
    assert len(np.unique(values)) > 1


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_lies_nowhere(network, tmp_path):
    """A picture of another kind, and a TIFF that is turned before it is labelled."""
    Image.fromarray(pixels(40, 50)).save(tmp_path / "a.png")
    tifffile.imwrite(
        tmp_path / "b.tif",
        pixels(40, 50),
        photometric="rgb",
        extratags=[(274, "H", 1, 6, True), (33550, "d", 3, (1.0, 1.0, 0.0), True)],
    )
    inputs, asked = [tmp_path / "a.png", tmp_path / "b.tif"], Outputs(("tif",))
    predict(network, inputs, tmp_path / "out", CLASSES, COLORS, outputs=asked)
    for name, size in (("a", (40, 50)), ("b", (50, 40))):
        with rasterio.open(tmp_path / "out" / f"{name}_labels.tif") as labels:
            assert labels.shape == size and labels.crs is None and labels.transform.is_identity


def test_what_is_done_is_left_alone(network, tmp_path):
    path = tmp_path / "in.tif"
    write_geotiff(path, pixels(20, 30))
    written = tmp_path / "out" / "in_labels.tif"

    def stamp():
        about = dict(job={"network": "one"}, outputs=Outputs(("tif",)))
        predict(network, [path], tmp_path / "out", CLASSES, COLORS, **about)
        return written.stat().st_mtime_ns

    first = stamp()
    assert stamp() == first
    written.unlink()
    assert stamp() > first


def test_an_image_is_never_overwritten(network, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("a.tif", "a_labels.tif"):
            write_geotiff(tmp_path / name, pixels(9, 9))
    with pytest.raises(UserError, match=r"a_labels\.tif: would be overwritten"):
        predict(network, [tmp_path], tmp_path, CLASSES, COLORS, outputs=Outputs(("tif",)))


def test_void_is_no_value(tmp_path):
    class_ids = np.full((3, 300), 255, "uint8")
    class_ids[1] = 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_label_tiff(tmp_path / "a.tif", class_ids)
        with rasterio.open(tmp_path / "a.tif") as labels:
            np.testing.assert_array_equal(labels.read_masks(1) > 0, class_ids != 255)


def test_without_tifffile(monkeypatch):
    monkeypatch.setattr(outputs, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tif needs tifffile.*\[tiff\]"):
        Outputs(("tif",))
