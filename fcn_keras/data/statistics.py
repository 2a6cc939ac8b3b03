"""What the images of a data set have on average, channel by channel."""

from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Split, in_parallel


class ChannelStatistics(NamedTuple):
    """What the pixels of a split are, a number for each channel.

    Attributes:
        dtype: of the images.
        mean: on average.
        std: how far they deviate from that; 1 where they are all the same.
    """

    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(split: Split) -> ChannelStatistics:
    """Reads all images of a split, and returns what their pixels are, each counted once.

    Void pixels are left out: what stands there may mean nothing.

    Raises:
        UserError: if an image cannot be read; names it.
    """

    def of_one(index):
        image, label, _ = split[index]
        pixels = image[(label != IGNORE_LABEL).any(axis=-1)]
        channels = image.shape[-1]
        if not len(pixels):
            nothing = np.zeros(channels)
            return image.dtype, 0, nothing, nothing, nothing + np.inf, nothing - np.inf
        # Around their own mean: the squares of large numbers would leave no digits.
        mean = pixels.mean(axis=0, dtype="float64")
        squares = np.square(pixels - mean).sum(axis=0)
        return image.dtype, len(pixels), mean, squares, pixels.min(axis=0), pixels.max(axis=0)

    # In the order of the images, so that the sums are the same each time.
    dtypes, counts, means, squares, lowest, highest = zip(
        *in_parallel(of_one, range(len(split)), "measuring channels"), strict=True
    )
    weights = np.array(counts, "float64")[:, None] / sum(counts)
    mean = (weights * means).sum(axis=0)
    variance = (weights * np.square(means - mean)).sum(axis=0) + np.sum(squares, axis=0) / sum(
        counts
    )
    # By the numbers themselves: what is left of sums is rounding.
    same = np.max(highest, axis=0) <= np.min(lowest, axis=0)
    std = np.where(same, 1.0, np.sqrt(variance))
    return ChannelStatistics(dtypes[0].name, tuple(mean.tolist()), tuple(std.tolist()))
