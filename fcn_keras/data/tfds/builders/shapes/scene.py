"""Draws scenes of overlapping shapes together with their segmentation labels.

A scene is a textured ground with a few textured shapes on it. Colours, textures and rotations are
drawn independently of the class, so only the form tells the classes apart.
"""

import numpy as np
from PIL import Image, ImageDraw

from fcn_keras.data.dataset import IGNORE_LABEL

CLASSES = ("background", "circle", "triangle", "square", "star")
COLORS = ((0, 0, 0), (230, 60, 60), (60, 180, 75), (255, 200, 40), (70, 110, 240))

_SUPERSAMPLING = 4
_PLACEMENTS = 20
_MIN_VISIBLE = 0.45
_FILLS = 12
_MIN_CONTRAST = 60.0

# Radii at a scene size of 96. They differ by class because a star of a circle's radius has less
# than half its area: uncorrected, the circles would own most of the foreground.
_RADII = {"circle": (12, 20), "triangle": (16, 28), "square": (14, 23), "star": (16, 28)}

# Rows weigh brightness, red-green and blue-yellow, so that lengths of the result order colour
# differences roughly as the eye does: it tells shapes apart by brightness first.
_OPPONENT = np.array([[0.36, 0.70, 0.14], [0.45, -0.45, 0.0], [0.2, 0.2, -0.4]], np.float32)


def scene_rng(split: str, index: int) -> np.random.Generator:
    """Makes the random generator of one scene.

    Every scene has its own generator, so a scene depends neither on the scenes before it nor on
    the process that draws it.

    Args:
        split: name of the split, such as `"train"`.
        index: number of the scene in its split.
    """
    return np.random.default_rng([*split.encode(), index])


def draw_scene(rng: np.random.Generator, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Draws one scene of two to five shapes and its segmentation labels.

    Later shapes hide parts of earlier ones, though a shape of which too little would stay visible
    is placed elsewhere. Labels follow PASCAL VOC: a border about two pixels wide between any two
    regions carries `IGNORE_LABEL`, also between two touching shapes of one class.

    Equal generators give equal bytes under the same versions of NumPy and Pillow.

    Args:
        rng: the only source of randomness.
        size: height and width of the scene in pixels.

    Returns:
        A tuple `(image, label)`: `image` of shape `(size, size, 3)`, RGB, and `label` of shape
        `(size, size, 1)`, indices into `CLASSES` or `IGNORE_LABEL`. Both are `uint8` arrays.

    Example:

    ```python
    image, label = draw_scene(scene_rng("train", 0))
    ```
    """
    image, regions, region_classes = _draw_regions(rng, size)
    label = region_classes[regions]
    label[_edges(regions)] = IGNORE_LABEL
    return image, label[..., None]


def _draw_regions(rng, size):
    """Draws a scene.

    Returns the image, the region of each pixel (0 is the ground, `i` the `i`-th shape) and the
    class of each region.
    """
    scale = size / 96
    canvas = _draw_ground(rng, size, scale)
    regions = np.zeros((size, size), np.uint8)
    region_classes = [0]
    areas = []
    for _ in range(rng.integers(2, 6)):
        class_id = rng.integers(1, len(CLASSES))
        low, high = _RADII[CLASSES[class_id]]
        corners = _form(rng, class_id) * rng.uniform(low, high) * scale
        x, y = corners.T
        areas.append(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
        for _ in range(_PLACEMENTS):
            window, coverage = _cover(_place(rng, corners, size), size)
            inside = coverage >= 0.5
            candidate = regions.copy()
            candidate[window][inside] = len(areas)
            visible = np.bincount(candidate.ravel(), minlength=len(areas) + 1)[1:]
            if np.all(visible >= _MIN_VISIBLE * np.array(areas)):
                break
        else:
            areas.pop()
            continue
        regions = candidate
        region_classes.append(class_id)
        fill = _draw_fill(rng, inside.shape, scale, behind=canvas[window][_edges(inside)][::8])
        canvas[window] += (fill - canvas[window]) * coverage[..., None]

    canvas += np.float32(rng.uniform(3, 9)) * rng.standard_normal(canvas.shape, np.float32)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return image, regions, np.array(region_classes, np.uint8)


def _form(rng, class_id):
    """Returns the corners of a class's form within the unit circle, shape `(n, 2)`."""
    name = CLASSES[class_id]
    corners = {"circle": 64, "triangle": 3, "square": 4, "star": 10}[name]
    angles = np.arange(corners) * (2 * np.pi / corners)
    radii = np.ones(corners)
    if name == "triangle":
        angles += rng.uniform(-0.2, 0.2, corners)
    elif name == "star":
        radii[1::2] = rng.uniform(0.4, 0.5)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _place(rng, corners, size):
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return corners @ rotation + rng.uniform(0.12 * size, 0.88 * size, 2)


def _cover(corners, size):
    """Returns the window a polygon falls into and how far it covers each pixel there.

    The window is a pair of slices, the coverage an array of its shape in `[0, 1]`.
    """
    # The pixel around the polygon lets `_edges` see its whole outline.
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, size)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, size)
    fine = Image.new("L", ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING))
    fine_corners = (corners - (left, top)) * _SUPERSAMPLING
    ImageDraw.Draw(fine).polygon(fine_corners.ravel().tolist(), fill=255)
    coverage = np.asarray(fine.reduce(_SUPERSAMPLING), np.float32) / 255
    return (slice(top, bottom), slice(left, right)), coverage


def _edges(regions):
    """Marks the pixels whose 3x3 neighbourhood holds more than one region."""
    padded = np.pad(regions, 1, mode="edge")
    return _reduce_3x3(np.minimum, padded) != _reduce_3x3(np.maximum, padded)


def _reduce_3x3(ufunc, x):
    x = ufunc(ufunc(x[:-2], x[1:-1]), x[2:])
    return ufunc(ufunc(x[:, :-2], x[:, 1:-1]), x[:, 2:])


def _draw_ground(rng, size, scale):
    shape = (size, size)
    layers = [
        _gradient(rng, shape),
        _noise(rng, shape, bump=20 * scale),
        _texture(rng, shape, scale),
    ]
    shifts = np.array([[30], [25], [16]], np.float32) * np.stack([_direction(rng) for _ in layers])
    color = rng.uniform(30, 225, 3).astype(np.float32)
    return np.clip(color + np.stack(layers, axis=-1) @ shifts, 0, 255)


def _draw_fill(rng, shape, scale, behind):
    """Fills a plane with a textured colour that stands out from the colours `behind`."""
    colors = rng.uniform(15, 240, (_FILLS, 3)).astype(np.float32)
    shift = _direction(rng) * np.float32(rng.uniform(25, 45))
    tones = np.stack([colors - shift, colors, colors + shift], axis=1) @ _OPPONENT.T
    distances = np.linalg.norm(tones[:, :, None] - behind @ _OPPONENT.T, axis=-1)
    # A tenth of the outline may be faint: the rest of it still shows the form.
    contrasts = np.sort(distances.min(axis=1), axis=1)[:, len(behind) // 10]
    # The first colour that will do, not the best: that would always be black, white or garish.
    chosen = np.argmax(np.minimum(contrasts, _MIN_CONTRAST))
    return np.clip(colors[chosen] + _texture(rng, shape, scale)[..., None] * shift, 0, 255)


def _direction(rng):
    """Returns a random colour direction of unit length, mostly along brightness."""
    direction = rng.normal(0.0, 0.5, 3) + rng.choice([-1.0, 1.0])
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def _texture(rng, shape, scale):
    """Returns a random pattern of the given shape in `[-1, 1]`."""
    kind = rng.choice(["plain", "gradient", "noise", "stripes", "checks", "dots"])
    if kind == "plain":
        return np.zeros(shape, np.float32)
    if kind == "gradient":
        return _gradient(rng, shape)
    if kind == "noise":
        return _noise(rng, shape, bump=rng.uniform(3, 6) * scale)
    u, v = _axes(rng, shape, 2 * np.pi / (rng.uniform(5, 11) * scale))
    if kind == "stripes":
        wave = np.sin(u)
    elif kind == "checks":
        wave = 2 * np.sin(u) * np.sin(v)
    else:
        wave = np.cos(u) + np.cos(v) - np.float32(0.6)
    # Steep but not hard, else the pattern would alias.
    return np.clip(2 * wave, -1, 1)


def _gradient(rng, shape):
    return np.clip(_axes(rng, shape, 2 / max(shape))[0], -1, 1)


def _noise(rng, shape, bump):
    height, width = shape
    coarse = rng.normal(0.0, 0.6, (int(height / bump) + 2, int(width / bump) + 2))
    fine = Image.fromarray(coarse.astype(np.float32)).resize((width, height), Image.BICUBIC)
    return np.clip(np.asarray(fine), -1, 1)


def _axes(rng, shape, frequency):
    """Returns the two coordinates of a randomly rotated frame, each of the given shape."""
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle) * frequency), np.float32(np.sin(angle) * frequency)
    y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in shape)
    return x * cos + y[:, None] * sin, y[:, None] * cos - x * sin
