"""How certain a network is of an image's classes, and where it is least so."""

from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcn_keras.demo.encoding import SHOWN, data_uri, encoded
from fcn_keras.figures.label_maps import label_name

# A place is a square of so much of the shorter side; so many are shown, with doubt of so much.
_SIDE, _PLACES, _DOUBT = 1 / 8, 3, 0.05


class Place(NamedTuple):
    """A place where a network hesitates.

    Attributes:
        box: left, top, width and height, in pixels.
        classes: the two classes that are most probable there, in the mean.
        probabilities: of these.
    """

    box: tuple[int, int, int, int]
    classes: tuple[int, int]
    probabilities: tuple[float, float]


def least_certain(probabilities: np.ndarray) -> list[Place]:
    """Finds up to three places where a network is least certain, none of which overlap.

    That the class changes along a line makes a line of doubt, in any image; what counts is the mean
    over a square.

    Args:
        probabilities: of all classes, float32 `(H, W, C)`.

    Returns:
        The places, the least certain first; none where it is certain of nearly all.
    """
    height, width, channels = probabilities.shape
    side = min(max(8, round(min(height, width) * _SIDE)), height, width)
    doubt = 1 - probabilities.max(axis=-1)
    # The mean over each square, at its upper left corner, by sums from the image's own.
    sums = np.pad(doubt.cumsum(0, "float64").cumsum(1), ((1, 0), (1, 0)))
    means = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    means /= side**2
    places: list[Place] = []
    while len(places) < _PLACES:
        top, left = np.unravel_index(means.argmax(), means.shape)
        if means[top, left] < _DOUBT:
            break
        inside = probabilities[top : top + side, left : left + side].mean(axis=(0, 1))
        first, second = np.argsort(-inside, kind="stable")[:2] if channels > 1 else (0, 0)
        places.append(
            Place(
                (int(left), int(top), side, side),
                (int(first), int(second)),
                (float(inside[first]), float(inside[second])),
            )
        )
        means[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = 0
    return places


def certainty_html(probabilities: np.ndarray, classes: list[str], stage: str) -> tuple[str, str]:
    """Writes how certain a network is.

    Args:
        probabilities: of all classes, float32 `(H, W, C)`.
        classes: C names.
        stage: the attributes of what holds a picture on the page.

    Returns:
        Two pieces of HTML: frames around the least certain places, to be laid over the image; and
        a picture of the confidence with the same frames, and a list of the places.
    """
    height, width, _ = probabilities.shape
    confidence = Image.fromarray(np.rint(255 * probabilities.max(axis=-1)).astype(np.uint8))
    confidence.thumbnail((SHOWN, SHOWN), Image.Resampling.BOX)
    picture = data_uri("image/png", encoded(confidence, "PNG"))
    places = least_certain(probabilities)
    frames = "".join(
        f'<span class="fcn-place" style="--x: {x / width:.3%}; --y: {y / height:.3%}; '
        f'--w: {w / width:.3%}; --h: {h / height:.3%}"><b>{number}</b></span>'
        for number, (x, y, w, h) in enumerate((place.box for place in places), 1)
    )
    entries = "".join(
        f"<li>{escape(label_name(a, classes))} {100 * p:.0f} %, "
        f"{escape(label_name(b, classes))} {100 * q:.0f} %</li>"
        for _, (a, b), (p, q) in places
    )
    mean = 100 * float(probabilities.max(axis=-1).mean())
    where = f"Least certain:</p><ol>{entries}</ol>" if places else "It hesitates nowhere.</p>"
    return (
        frames,
        f"""
<figure class="fcn-confidence"><div {stage} role="img"
aria-label="Confidence, {mean:.1f} % on average"><img src="{picture}" alt="">{frames}</div>
<figcaption>Confidence: white is certain</figcaption></figure>
<div class="fcn-places"><p>The probability of the class that was chosen is {mean:.1f} % on average.
{where}</div>""",
    )
