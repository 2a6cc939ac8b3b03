"""Images of any numbers and channels as people can look at them."""

import numpy as np

# Of these shares of the pixels the numbers are below what is shown black, and what is white.
_BLACK, _WHITE = 0.02, 0.98

# As many pixels tell how an image is to be stretched.
_SAMPLE = 1 << 16


def as_picture(image: np.ndarray) -> np.ndarray:
    """Returns an image as a picture: uint8 `(H, W, 3)`.

    Its first three channels are red, green and blue; of one or two, the first is grey. Bytes are
    shown as they are. Others are stretched, each channel by itself: a fiftieth of its pixels
    becomes black, and one white.

    Args:
        image: `(H, W, C)` of any numbers.
    """
    colors = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if colors.dtype != np.uint8:
        step = max(1, int((image.shape[0] * image.shape[1] / _SAMPLE) ** 0.5))
        sample = colors[::step, ::step].astype("float32")
        black, white = np.quantile(sample, (_BLACK, _WHITE), axis=(0, 1))
        scale = 255 / np.maximum(white - black, 1e-6)
        colors = np.clip((colors - black) * scale, 0, 255).round().astype("uint8")
    return np.broadcast_to(colors, (*image.shape[:2], 3))
