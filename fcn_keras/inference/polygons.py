"""Regions of label maps as GeoJSON, and those of many images as COCO's JSON."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.inference.regions import Region, Ring, regions_of


def geojson_of(class_ids: np.ndarray, classes: Sequence[str], simplify: float = 0.0) -> dict:
    """Returns the regions of a label map as a GeoJSON `FeatureCollection`, for JSON.

    Coordinates are (x, y) in pixels from the image's upper left corner, y downwards. Each region is
    a `Polygon`, with its class, the class's number and its area in pixels as properties.

    Args:
        class_ids: uint8 `(H, W)`; void, 255, is left out.
        classes: names of the classes.
        simplify: by how many pixels outlines may be off, so that they have fewer corners. At 0 they
            follow the sides of pixels, and give the label map back. Needs Shapely above that.

    Example:

    >>> geojson_of(np.zeros((2, 3), np.uint8), ["road"])["features"][0]["properties"]["area"]
    6

    Reference:
        RFC 7946; its rule of the right hand for rings holds for the numbers as they are.
    """
    height, width = class_ids.shape
    return {
        "type": "FeatureCollection",
        "size": [width, height],
        "features": [
            {
                "type": "Feature",
                "properties": {
                    "class_id": region.class_id,
                    "class": classes[region.class_id],
                    "area": region.area,
                },
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[*ring, ring[0]] for ring in _outlines(region, simplify)],
                },
            }
            for region in regions_of(class_ids)
        ],
    }


def _outlines(region: Region, simplify: float) -> list[Ring]:
    rings = [region.exterior, *region.holes]
    if not simplify:
        return rings
    from shapely.geometry import Polygon

    simple = Polygon(rings[0], rings[1:]).simplify(simplify, preserve_topology=True)
    return [
        [(int(x), int(y)) for x, y in ring.coords[:-1]]
        for ring in (simple.exterior, *simple.interiors)
    ]


def coco_of(files: Iterable[tuple[Path, Path]], classes: Sequence[str]) -> dict[str, Any]:
    """Returns what `geojson_of` made of many images in COCO's format, for JSON.

    Regions with holes, which its polygons cannot have, are run lengths, as COCO has them for
    crowds. Categories have the numbers of the classes.

    Args:
        files: of each image, and the GeoJSON of its label map.
        classes: names of the classes.

    Example:

    >>> coco_of([(Path("a.jpg"), Path("labelled/a.geojson"))], ["road"])["categories"]
    [{"id": 0, "name": "road"}]
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for image, file in files:
        found = json.loads(file.read_text("utf-8"))
        width, height = found["size"]
        number = len(images) + 1
        images.append({"id": number, "file_name": image.name, "width": width, "height": height})
        for feature in found["features"]:
            rings = [ring[:-1] for ring in feature["geometry"]["coordinates"]]
            x, y = (np.array(rings[0])[:, axis] for axis in (0, 1))
            box = [int(x.min()), int(y.min()), int(np.ptp(x)), int(np.ptp(y))]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": feature["properties"]["class_id"],
                    "segmentation": (
                        {"size": [height, width], "counts": _run_lengths(rings, box, width, height)}
                        if len(rings) > 1
                        else [[value for corner in rings[0] for value in corner]]
                    ),
                    "area": feature["properties"]["area"],
                    "bbox": box,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _run_lengths(rings, box, width, height):
    """How many pixels, column by column, are out, in, out and so on."""
    left, top, across, down = box
    mask = filled(rings, (across, down), (left, top)).T  # by columns
    column, row = np.nonzero(mask)
    places = (column + left) * height + row + top
    begins = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    firsts, lengths = places[begins], np.diff(begins, append=len(places))
    edges = np.stack([firsts, firsts + lengths], axis=1).ravel()
    return [int(edges[0]), *(int(b - a) for a, b in pairwise([*edges, width * height]))]


def filled(rings: Sequence[Ring], size: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
    """Returns which pixels have their middle within an odd number of rings.

    Args:
        rings: corners (x, y), without the first again at the end.
        size: width and height of the window to look at.
        corner: x and y of its upper left corner.

    Returns:
        bool `(height, width)`.
    """
    (width, height), (left, top) = size, corner
    crossed = np.zeros((height, width + 1), bool)
    for ring in rings:
        for (x, y), (u, v) in pairwise([*ring, ring[0]]):
            if y == v:
                continue
            (x, y), (u, v) = sorted(((x, y), (u, v)), key=lambda point: point[1])
            rows = np.arange(y, v)
            # The first pixel of each row whose middle lies to the right of the side.
            at = np.ceil(x + (rows + 0.5 - y) * (u - x) / (v - y) - 0.5).astype(int)
            crossed[rows - top, np.clip(at - left, 0, width)] ^= True
    return np.logical_xor.accumulate(crossed, axis=1)[:, :width]
