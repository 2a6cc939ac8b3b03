"""The other trunk of the paper: AlexNet, as Caffe's reference net has it (CaffeNet)."""

from keras import layers, ops

from fcn_keras.feature import Feature, Trunk, convolve, pool, widen
from fcn_keras.geometry import Conv, Pool, thin_border

# Local response normalisation over this many channels, with these constants (arXiv 1404.5997
# and CaffeNet): x / (1 + ALPHA / NEIGHBOURS * sum of squares) ** BETA.
NEIGHBOURS, ALPHA, BETA = 5, 1e-4, 0.75

POOL = Pool(3, 2)


def alexnet_trunk(
    image: Feature,
    width: float = 1.0,
    dropout: float = 0.5,
    initializer: str = "he_normal",
    elide_padding: bool = True,
    source: Feature | None = None,
) -> Trunk:
    """Builds CaffeNet as a fully convolutional trunk, from the image to fc7.

    Layers are named as in the reference. Each pooling comes before the normalisation.

    Args:
        image: the preprocessed image.
        width: factor on the number of channels of every layer.
        dropout: rate of the dropout behind fc6 and fc7.
        initializer: how kernels start.
        elide_padding: whether to compute what becomes of the image's padding once, and to
            repeat it behind pool1.
        source: the image as it came in, which scores are cropped to; `image` if not given.

    Returns:
        A `Trunk` of the map that FCN-AlexNet scores, at stride 32.
    """
    pad, borders = 100, []
    if elide_padding:
        pad, borders = thin_border([[Conv(11, 4), POOL]], pad)
    conv1 = Conv(11, 4, pad)
    x = convolve(image, scaled(96, width), conv1, "conv1", initializer=initializer)
    x = pool(x, POOL, "pool1_thin" if borders else "pool1")
    for border in borders:
        x = widen(x, border, "pool1")
    x = normalize_responses(x, "norm1")
    x = convolve(x, scaled(256, width), Conv(5, pad=2), "conv2", groups=2, initializer=initializer)
    x = normalize_responses(pool(x, POOL, "pool2"), "norm2")
    x = convolve(x, scaled(384, width), Conv(3, pad=1), "conv3", initializer=initializer)
    x = convolve(x, scaled(384, width), Conv(3, pad=1), "conv4", groups=2, initializer=initializer)
    x = convolve(x, scaled(256, width), Conv(3, pad=1), "conv5", groups=2, initializer=initializer)
    x = pool(x, POOL, "pool5")
    for name, conv in (("fc6", Conv(6)), ("fc7", Conv(1))):
        x = convolve(x, scaled(4096, width), conv, name, initializer=initializer)
        x = Feature(layers.Dropout(dropout, name=f"drop{name[-1]}")(x.tensor), x.grid)
    return Trunk(source or image, x)


def scaled(channels: int, width: float) -> int:
    """Returns the channels of a layer `width` times as wide: even, as some have two groups."""
    return max(2, 2 * round(channels * width / 2))


def normalize_responses(feature: Feature, name: str) -> Feature:
    """Divides each number by what the neighbouring channels say at its place."""
    # float32: squares overflow float16.
    x = ops.cast(feature.tensor, "float32")
    margin = NEIGHBOURS // 2
    squares = ops.pad(ops.square(x), [[0, 0], [0, 0], [0, 0], [margin, margin]])
    channels = x.shape[-1]
    total = sum(squares[..., i : i + channels] for i in range(NEIGHBOURS))
    x = x / ops.power(1 + ALPHA / NEIGHBOURS * total, BETA)
    # A layer takes what it gets to the policy's type, and has the reference's name.
    x = layers.Identity(name=name)(x)
    return Feature(x, feature.grid)
