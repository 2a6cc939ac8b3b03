"""What the page of `demo` shows of an image: pictures, a legend and a label map, as HTML."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.palette import palette_for
from fcn_keras.demo.certainty import certainty_html
from fcn_keras.demo.encoding import SHOWN, data_uri, encoded
from fcn_keras.figures.label_maps import edges, label_image, label_name
from fcn_keras.inference.polygons import geojson_of
from fcn_keras.inference.regions import count_regions
from fcn_keras.system.spelling import shown_name

# Of noise there are too many polygons for a page, and to wait for.
_MAX_POLYGONS = 5000


def class_shares(class_ids: np.ndarray) -> dict[int, float]:
    """Returns the share of the pixels that each class has, the largest first.

    Example:

    >>> class_shares(np.array([[0, 2, 2, 2]]))
    {2: 0.75, 0: 0.25}
    """
    counts = np.bincount(class_ids.ravel())
    return {
        int(k): float(counts[k] / class_ids.size)
        for k in np.argsort(-counts, kind="stable")
        if counts[k]
    }


def at_shown_size(image: np.ndarray, class_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brings an image and its labels to the size of the pictures on the page.

    Large ones are shrunk; small ones enlarged by a whole number, each pixel becoming a square.

    Args:
        image: uint8 `(H, W, 3)`.
        class_ids: uint8 `(H, W)`.

    Returns:
        The two, of another size.
    """
    height, width = class_ids.shape
    longest = max(height, width)
    if longest <= SHOWN:
        square = np.ones((max(1, SHOWN // 2 // longest),) * 2, np.uint8)
        return np.kron(image, square[..., None]), np.kron(class_ids, square)
    size = (max(1, round(width * SHOWN / longest)), max(1, round(height * SHOWN / longest)))
    small = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    ids = Image.fromarray(class_ids).resize(size, Image.Resampling.NEAREST)
    return np.asarray(small), np.asarray(ids)


def overlay_layers(image: np.ndarray, class_ids: np.ndarray, palette: np.ndarray) -> list[bytes]:
    """Makes files that a browser can blend to what `fcn_keras.figures.label_maps.overlay` draws.

    Args:
        image: uint8 `(H, W, 3)`.
        class_ids: uint8 `(H, W)`.
        palette: uint8 `(256, 3)`.

    Returns:
        Three files: the image as a JPEG; the colours of its classes, and those along the edges
        alone, as PNGs. Laid over the image one after the other, each with the overlay's opacity,
        they give the overlay.
    """
    outline = np.where(edges(class_ids), class_ids, np.uint8(IGNORE_LABEL))
    return [
        encoded(Image.fromarray(image), "JPEG", quality=95, subsampling=0),
        *(
            encoded(label_image(ids, palette), "PNG", transparency=IGNORE_LABEL)
            for ids in (class_ids, outline)
        ),
    ]


def result_html(
    name: str,
    image: np.ndarray,
    class_ids: np.ndarray,
    seconds: float,
    classes: list[str],
    colors: list[tuple[int, int, int]],
    probabilities: np.ndarray | None = None,
) -> str:
    """Writes what the page shows of an image.

    That is the overlay and the image side by side; the classes in it with their shares of the
    pixels; links to the label map, a palette PNG of class ids, and to its regions as polygons, both
    as `predict` writes them; and how certain the network is, with the places where it is least so.

    Args:
        name: the image's name.
        image: uint8 `(H, W, 3)`.
        class_ids: uint8 `(H, W)`.
        seconds: how long the network took.
        classes: C names.
        colors: C RGB triples.
        probabilities: of all classes, float32 `(H, W, C)`; nothing is said of how certain it is if
            not given.

    Returns:
        HTML, pictures and label map included.
    """
    name = shown_name(name)
    palette = palette_for(colors)
    shares = class_shares(class_ids)
    height, width = class_ids.shape
    mask = encoded(label_image(class_ids, palette), "PNG")
    photo, *tints = overlay_layers(*at_shown_size(image, class_ids), palette)
    original = data_uri("image/jpeg", photo)
    layers = "".join(f'<img src="{data_uri("image/png", tint)}" alt="">' for tint in tints)
    contents = ", ".join(f"{label_name(k, classes)} {_percent(s)}" for k, s in shares.items())
    seen = escape(f"{name} in the colours of its classes: {contents}")
    stage = f'class="fcn-stage" style="--ratio: {width / height:.5f}"'
    marks = sure = ""
    if probabilities is not None:
        marks, sure = certainty_html(probabilities, classes, stage)
    stem = escape(Path(name).stem)
    links = _link(f"{stem}_mask.png", "image/png", mask, "mask (PNG of class ids)")
    if count_regions(class_ids).sum() <= _MAX_POLYGONS:
        polygons = json.dumps(geojson_of(class_ids, classes)).encode()
        links += _link(f"{stem}.geojson", "application/geo+json", polygons, "polygons (GeoJSON)")
    return f"""
<section class="fcn-result" aria-label="Result">
<figure class="fcn-overlay"><div {stage} role="img" aria-label="{seen}">
<img src="{original}" alt="">{layers}</div><figcaption>Overlay</figcaption></figure>
<figure class="fcn-original"><div {stage}><img src="{original}" alt="{escape(name)}">{marks}</div>
<figcaption>Original</figcaption></figure>
<div class="fcn-facts"><p><b>{escape(name)}</b>: {width} × {height} pixels,
labelled in {_duration(seconds)}</p><div class="fcn-downloads">
{links}</div></div>
{legend_html(shares, classes, colors)}{sure}
</section>"""


def _link(file, kind, content, what):
    uri = data_uri(kind, content)
    return f'<a class="fcn-download" download="{file}" href="{uri}">Download {what}</a>'


def legend_html(
    shares: Mapping[int, float | None], classes: list[str], colors: list[tuple[int, int, int]]
) -> str:
    """Writes a list of classes with their colours and shares.

    Args:
        shares: the share of the pixels of each class to be listed; None for none.
        classes: C names.
        colors: C RGB triples.

    Returns:
        HTML.
    """
    palette = palette_for(colors)
    entries = (
        f'<li style="--color: rgb{tuple(palette[k].tolist())}; --share: {share or 0:.2%}">'
        f'<span class="fcn-chip"></span><span class="fcn-name">{escape(label_name(k, classes))}'
        f"</span><span>{escape(_percent(share))}</span></li>"
        for k, share in shares.items()
    )
    return f'<ul class="fcn-legend" aria-label="Classes">{"".join(entries)}</ul>'


def _percent(share):
    if share is None:
        return ""
    return "<0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _duration(seconds):
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
