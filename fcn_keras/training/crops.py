"""How a run's training images are varied, and what they become."""

from fcn_keras.data.augmentation import PADDING_COLOR, PADDING_WITH_DEPTH, Augmentation
from fcn_keras.data.batches import images_of_batch, training_batches
from fcn_keras.data.dataset import Example, Split
from fcn_keras.data.statistics import ChannelStatistics, channel_statistics
from fcn_keras.models.variants import COLOR_D
from fcn_keras.training.settings import Settings

_PADDINGS: dict[str, tuple[float, ...]] = {COLOR_D: PADDING_WITH_DEPTH}


def augmentation_of(
    settings: Settings, statistics: ChannelStatistics | None = None
) -> Augmentation:
    """Returns how the training images of a run are varied.

    Args:
        settings: of the run.
        statistics: what the images are, where they are no photographs: their mean lies beyond their
            borders.
    """
    padding: tuple[float, ...] = _PADDINGS.get(settings.variant, PADDING_COLOR)
    brightest = 255.0
    if statistics:
        padding = statistics.mean
        brightest = 65535.0 if statistics.dtype == "uint16" else 255.0
    return Augmentation(
        settings.crop_size,
        settings.flip,
        (settings.scale_min, settings.scale_max),
        settings.color,
        settings.class_crops,
        settings.vertical_flip,
        settings.rotation,
        settings.blur,
        padding,
        brightest,
    )


def first_crops(
    settings: Settings, split: Split, count: int, stored: bool = False
) -> list[Example]:
    """Returns what a run trains on first, as it is drawn from its seed.

    Args:
        settings: of the run.
        split: its training split.
        count: how many, at most as many as the split has.
        stored: whether the images are no photographs.
    """
    augmentation = augmentation_of(settings, channel_statistics(split) if stored else None)
    stream = training_batches(
        split, augmentation, 1, settings.seed, replacement=settings.replacement
    )
    names = [
        images_of_batch(split, 1, settings.seed, step, settings.replacement)[0]
        for step in range(min(count, len(split)))
    ]
    crops = stream.take(len(names)).as_numpy_iterator()
    return [
        Example(image[0], label[0], name) for name, (image, label) in zip(names, crops, strict=True)
    ]
