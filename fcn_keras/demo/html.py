"""What the page of `demo` shows of an image: pictures, a legend and a label map, as HTML."""

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.palette import palette_for
from fcn_keras.figures.label_maps import edges, label_image, label_name
from fcn_keras.system.spelling import shown_name

# Longest side of the pictures on the page: what a window shows, and a connection carries at once.
_SHOWN = 1280


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
    if longest <= _SHOWN:
        square = np.ones((max(1, _SHOWN // 2 // longest),) * 2, np.uint8)
        return np.kron(image, square[..., None]), np.kron(class_ids, square)
    size = (max(1, round(width * _SHOWN / longest)), max(1, round(height * _SHOWN / longest)))
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
) -> str:
    """Writes what the page shows of an image.

    That is the overlay and the image side by side, the classes in it with their shares of the
    pixels, and a link to the label map: a palette PNG of class ids, as `predict` writes it.

    Args:
        name: the image's name.
        image: uint8 `(H, W, 3)`.
        class_ids: uint8 `(H, W)`.
        seconds: how long the network took.
        classes: C names.
        colors: C RGB triples.

    Returns:
        HTML, pictures and label map included.
    """
    name = shown_name(name)
    palette = palette_for(colors)
    shares = class_shares(class_ids)
    height, width = class_ids.shape
    mask = encoded(label_image(class_ids, palette), "PNG")
    photo, *tints = overlay_layers(*at_shown_size(image, class_ids), palette)
    photo = _data_uri("image/jpeg", photo)
    layers = "".join(f'<img src="{_data_uri("image/png", tint)}" alt="">' for tint in tints)
    contents = ", ".join(f"{label_name(k, classes)} {_percent(s)}" for k, s in shares.items())
    seen = escape(f"{name} in the colours of its classes: {contents}")
    stage = f'class="fcn-stage" style="--ratio: {width / height:.5f}"'
    return f"""
<section class="fcn-result" aria-label="Result">
<figure class="fcn-overlay"><div {stage} role="img" aria-label="{seen}">
<img src="{photo}" alt="">{layers}</div><figcaption>Overlay</figcaption></figure>
<figure class="fcn-original"><div {stage}><img src="{photo}" alt="{escape(name)}"></div>
<figcaption>Original</figcaption></figure>
<div class="fcn-facts"><p><b>{escape(name)}</b>: {width} × {height} pixels,
labelled in {_duration(seconds)}</p>
<a class="fcn-download" download="{escape(Path(name).stem)}_mask.png"
 href="{_data_uri("image/png", mask)}">Download mask (PNG of class ids)</a></div>
{legend_html(shares, classes, colors)}
</section>"""


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


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    """Returns a picture as a file; the options are those of Pillow's `save`."""
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def _data_uri(kind, content):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _duration(seconds):
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


CSS = """
.fcn-examples .caption-label { display: none; }
.gradio-container .block .html-container { padding: 0; }
.fcn-head h1 { font-size: 1.6rem; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
.fcn-result {
  display: grid; gap: 1rem;
  grid-template: "overlay original" auto "facts facts" auto "legend legend" auto / 1fr 1fr;
}
.fcn-overlay { grid-area: overlay; }
.fcn-original { grid-area: original; }
.fcn-facts { grid-area: facts; }
.fcn-legend { grid-area: legend; }
@media (max-width: 640px) {
  .fcn-result { grid-template: "overlay" "facts" "legend" "original" / minmax(0, 1fr); }
}
.fcn-result figure { margin: 0; min-width: 0; }
.fcn-result figcaption { margin-top: .25rem; }
.fcn-stage {
  position: relative; aspect-ratio: var(--ratio); width: min(100%, 75vh * var(--ratio));
  border-radius: var(--radius-md); overflow: hidden;
}
.fcn-stage img { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; }
.fcn-stage img + img { opacity: var(--fcn-opacity, .5); }
.fcn-facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; align-items: center;
  justify-content: space-between; }
.fcn-facts p { margin: 0; overflow-wrap: anywhere; }
.fcn-result a.fcn-download {
  padding: .5rem 1rem; border-radius: var(--radius-md); text-decoration: none; font-weight: 600;
  background: var(--button-primary-background-fill); color: var(--button-primary-text-color);
}
.fcn-result .fcn-legend, .fcn-legend {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr));
  gap: .75rem 2rem; list-style: none; margin: 0; padding: 0;
}
.fcn-legend li {
  display: flex; flex-wrap: wrap; gap: .25rem .6rem; align-items: center; margin: 0;
}
.fcn-result .fcn-legend li::after {
  content: ""; flex: 0 0 100%; height: 4px; border-radius: 2px;
  background: linear-gradient(var(--color) 0 0) 0 / var(--share) no-repeat
    var(--border-color-primary);
}
.fcn-name { flex: 1; overflow-wrap: anywhere; }
.fcn-chip {
  flex: none; width: 1.1em; height: 1.1em; border-radius: 3px; background: var(--color);
  border: 1px solid var(--body-text-color-subdued);
}
.fcn-fault {
  padding: 1rem; border-radius: var(--radius-md); overflow-wrap: anywhere;
  border: 1px solid var(--error-border-color); background: var(--error-background-fill);
  color: var(--error-text-color);
}
"""
