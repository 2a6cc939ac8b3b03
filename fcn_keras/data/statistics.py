"""What the images of a data set have on average, channel by channel."""

from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import Split, in_parallel


class ChannelStatistics(NamedTuple):
    """What the pixels of a split are, a number for each channel.

    Attributes:
        dtype: of the images.
        mean: on average.
        std: how far they deviate from that; 1 where they do not.
    """

    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(split: Split) -> ChannelStatistics:
    """Reads all images of a split, and returns what their pixels are, each counted once.

    Raises:
        UserError: if an image cannot be read; names it.
    """

    def of_one(index):
        image = split[index].image
        pixels = image.reshape(-1, image.shape[-1])
        # Around their own mean: the squares of large numbers would leave no digits.
        mean = pixels.mean(axis=0, dtype="float64")
        squares = np.square(pixels - mean).sum(axis=0)
        return image.dtype, len(pixels), mean, squares

    # In the order of the images, so that the sums are the same each time.
    dtypes, counts, means, squares = zip(
        *in_parallel(of_one, range(len(split)), "measuring channels"), strict=True
    )
    weights = np.array(counts, "float64")[:, None] / sum(counts)
    mean = (weights * means).sum(axis=0)
    variance = (weights * np.square(means - mean)).sum(axis=0) + np.sum(squares, axis=0) / sum(
        counts
    )
    std = np.sqrt(variance)
    return ChannelStatistics(
        dtypes[0].name, tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
    )
