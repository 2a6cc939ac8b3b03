"""What `predict` writes beside label maps: polygons and tables."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage
from shapely.geometry import Point, Polygon

from fcn_keras.errors import UserError
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.polygons import coco_of, filled, geojson_of
from fcn_keras.inference.regions import count_regions, regions_of
from fcn_keras.inference.summary import write_summary

CLASSES = ["road", "house", "tree"]


def ring_of_pixels():
    """A ring around a hole with an island, which touch at corners."""
    mask = np.zeros((7, 8), np.uint8)
    mask[1:6, 1:6] = 1
    mask[2:5, 2:5] = 0
    mask[2, 2] = mask[3, 3] = 1
    mask[6, 6] = 2
    return mask


def label_maps():
    rng = np.random.default_rng(0)
    yield np.zeros((1, 1), np.uint8)
    yield np.full((5, 3), 255, np.uint8)
    yield ring_of_pixels()
    yield np.indices((6, 7)).sum(0).astype("uint8") % 2  # touching at corners alone
    lines = np.zeros((9, 9), np.uint8)
    lines[4], lines[:, 4] = 1, 2
    yield lines
    for number in range(45):
        size = rng.integers(1, 24, 2)
        coarse = rng.integers(0, 4, -(-size // rng.integers(1, 5))).astype("uint8")
        found = coarse.repeat(5, 0).repeat(5, 1)[: size[0], : size[1]]
        noise = rng.random(found.shape) < rng.choice([0.0, 0.2])
        found[noise] = rng.integers(0, 3, noise.sum())
        found[found == 3] = 255 if number % 2 else 0
        yield found


@pytest.mark.parametrize("class_ids", [*label_maps()])
def test_polygons_give_the_label_map_back(class_ids):
    """By Shapely's areas, and rasterised by the middles of pixels; all valid, none overlaps."""
    again = np.full_like(class_ids, 255)
    height, width = class_ids.shape
    for region in regions_of(class_ids):
        polygon = Polygon(region.exterior, region.holes)
        assert polygon.is_valid and polygon.area == region.area
        assert polygon.exterior.is_ccw  # as the numbers are; y downwards it is clockwise
        assert not any(hole.is_ccw for hole in polygon.interiors)
        x, y, w, h = region.box
        assert polygon.bounds == (x, y, x + w, y + h)
        covered = filled([region.exterior, *region.holes], (width, height), (0, 0))
        assert (again[covered] == 255).all() and covered.sum() == region.area
        again[covered] = region.class_id
    np.testing.assert_array_equal(again, class_ids)


@pytest.mark.parametrize("class_ids", [*label_maps()])
def test_as_many_regions_as_scipy_finds(class_ids):
    found = count_regions(class_ids)
    right = [ndimage.label(class_ids == label)[1] for label in range(256)]
    np.testing.assert_array_equal(found, right)


def test_a_ring_with_an_island():
    found = {(region.class_id, region.area): region for region in regions_of(ring_of_pixels())}
    assert {(1, 17), (1, 1), (2, 1)} <= {*found}
    ring = found[1, 17]
    assert ring.exterior == [(1, 1), (6, 1), (6, 6), (1, 6)]
    [hole] = ring.holes
    assert hole[0] == (3, 2) and len(hole) == 6  # without the corner pixel


def test_middles_of_pixels_within_slanted_sides():
    """Against Shapely, point by point."""
    triangle = [(0, 0), (9, 4), (2, 8)]
    found = filled([triangle], (10, 9), (0, 0))
    polygon = Polygon(triangle)
    for y, x in np.ndindex(found.shape):
        assert found[y, x] == polygon.contains(Point(x + 0.5, y + 0.5)), (x, y)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'
@pytest.mark.parametrize("class_ids", [*label_maps()][2:20])
def test_coco_reads_them(class_ids, tmp_path):
    """Regions with holes and without, by pycocotools; an image without any too."""
    void = np.full((4, 6), 255, np.uint8)
    files = []
    for name, labels in (("void", void), ("photo", class_ids)):
        file = tmp_path / f"{name}.geojson"
        file.write_text(json.dumps(geojson_of(labels, CLASSES)))
        files.append((tmp_path / f"{name}.jpg", file))
    (tmp_path / "coco.json").write_text(json.dumps(coco_of(files, CLASSES)))
    coco = COCO(tmp_path / "coco.json")
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == [
        "void.jpg",
        "photo.jpg",
    ]
    assert coco.loadCats(coco.getCatIds())[1] == {"id": 1, "name": "house"}
    assert not coco.getAnnIds(imgIds=1)
    again = np.full_like(class_ids, 255)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=2)):
        mask = coco.annToMask(annotation).astype(bool)
        assert mask.sum() == annotation["area"]
        box = coco_mask.toBbox(coco.annToRLE(annotation))
        np.testing.assert_array_equal(box, annotation["bbox"])
        again[mask] = annotation["category_id"]
    np.testing.assert_array_equal(again, class_ids)


def test_simplified():
    """By at most so many pixels, with fewer corners, and still polygons."""
    y, x = np.indices((60, 60))
    disc = ((x - 30) ** 2 + (y - 30) ** 2 < 25**2).astype("uint8")
    for simplify, corners in ((0.0, 100), (1.5, 40)):
        collection = geojson_of(disc, CLASSES, simplify)
        for feature in collection["features"]:
            exterior, *holes = feature["geometry"]["coordinates"]
            polygon = Polygon(exterior, holes)
            exact = next(r for r in regions_of(disc) if r.area == feature["properties"]["area"])
            whole = Polygon(exact.exterior, exact.holes)
            assert polygon.is_valid and exterior[0] == exterior[-1]
            assert polygon.hausdorff_distance(whole) <= max(simplify, 0) + 1e-9
            rings = sum(len(ring) - 1 for ring in (exterior, *holes))
            assert rings <= corners if simplify else rings > 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ("mask", "contours")}, "must be of confidence, mask, overlay, polygons, prob"),
        ({"simplify": -1.0, "formats": ("polygons",)}, "`simplify` must be a number of pixels"),
        ({"min_confidence": 1.5}, "`min_confidence` must be from 0 to 1. Received: 1.5"),
        ({"simplify": 1.0}, "`simplify` is for the format `polygons`"),
    ],
)
def test_what_is_no_output(options, message):
    with pytest.raises(UserError, match=message):
        Outputs(**options)


def test_summary(tmp_path):
    """Also of label maps that others have written."""
    class_ids = ring_of_pixels()
    class_ids[0] = 255
    Image.fromarray(class_ids).save(tmp_path / "photo.png")
    write_summary([tmp_path / "photo.jpg"], [tmp_path / "photo.png"], tmp_path, CLASSES)
    with open(tmp_path / "summary.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["image"], row["class"], row["pixels"], row["regions"]) for row in rows] == [
        ("photo.jpg", "road", "29", "3"),
        ("photo.jpg", "house", "18", "2"),
        ("photo.jpg", "tree", "1", "1"),
        ("photo.jpg", "void", "8", "1"),
    ]
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)
