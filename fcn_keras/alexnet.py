"""The other trunk of the paper: AlexNet, as Caffe's reference net has it (CaffeNet)."""

from fcn_keras.architecture import alexnet_layers
from fcn_keras.feature import Feature, Trunk, follow


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
    maps = follow(alexnet_layers(width, elide_padding), image, dropout, initializer)
    return Trunk(source or image, maps["fc7"])
