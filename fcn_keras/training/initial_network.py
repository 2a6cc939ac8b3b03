"""The network that a run starts from, with its loss, scores and update rule."""

import keras
import numpy as np

from fcn_keras.data.dataset import Dataset
from fcn_keras.data.statistics import ChannelStatistics
from fcn_keras.errors import UserError
from fcn_keras.inference.network import load_network
from fcn_keras.models.architecture import CONV1_1_BGRD
from fcn_keras.models.backbone import same_preprocessing
from fcn_keras.models.backbones import VGG16
from fcn_keras.models.channels import stored_numbers
from fcn_keras.models.fcn import build
from fcn_keras.models.head import is_of_head
from fcn_keras.models.keras_defaults import keras_defaults
from fcn_keras.models.layers import preprocessing_of
from fcn_keras.models.variants import COLOR_D, COLOR_HHA, OWN_CHANNELS
from fcn_keras.models.weights.copying import copy_matching
from fcn_keras.models.weights.first_layer import CONV1_1
from fcn_keras.models.weights.starts import LOG_DEPTH_MEAN, Start
from fcn_keras.system.spelling import split_paths
from fcn_keras.training.batch_norm import settle
from fcn_keras.training.freezing import freeze
from fcn_keras.training.losses.class_weights import chosen_weights
from fcn_keras.training.losses.sums import make_loss
from fcn_keras.training.optimizers import make_optimizer
from fcn_keras.training.settings import Settings
from fcn_keras.training.task import SegmentationTask

# The settings that `build` takes as they are.
_OPTIONS = (
    *("backbone", "geometry", "output_stride", "width", "dropout", "upsampling"),
    "input_mean",
)


@keras_defaults()
def make_task(
    settings: Settings,
    dataset: Dataset,
    counts: np.ndarray,
    total_steps: int,
    micro_batch: int,
    statistics: ChannelStatistics | None = None,
) -> SegmentationTask:
    """Makes the task that a run starts from; within the strategy's scope.

    Args:
        settings: what to train.
        dataset: what to train it for.
        counts: how many pixels have each label, see `fcn_keras.data.dataset.count_labels`.
        total_steps: how many steps the learning rate takes its course over.
        micro_batch: see `SegmentationTask`.
        statistics: see `make_network`.

    Raises:
        UserError: if the network cannot be trained so.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        network = make_network(settings, dataset.outputs, statistics)
        settle(network, settings)
        if not settings.freeze_epochs:
            freeze(network, settings.freeze)
        task = SegmentationTask(
            network,
            make_loss(
                settings.loss,
                settings.normalization,
                chosen_weights(
                    settings.class_weights, dataset.classes, counts[: dataset.num_classes]
                ),
                settings.label_smoothing,
            ),
            tuple(dataset.heads),
            settings.clip_norm,
            micro_batch,
            settings.remat,
            settings.ema,
        )
        # XLA compiles neither the counting of pixels nor replicas on several CPUs.
        heads = [layer.name for layer in network.layers if is_of_head(layer)]
        task.compile(make_optimizer(settings, total_steps, heads), jit_compile=False)
        if settings.freeze_epochs:
            task.freeze(settings.freeze)
    finally:
        keras.config.set_dtype_policy(policy)
    return task


def make_network(
    settings: Settings,
    num_classes: int | dict[str, int],
    statistics: ChannelStatistics | None = None,
) -> keras.Model:
    """Builds the network that a run starts from.

    Args:
        settings: what is to be trained.
        num_classes: as `fcn_keras.build` has it.
        statistics: what the training images are, where they are no photographs.

    Raises:
        UserError: if it cannot be built so.
    """
    options = {name: getattr(settings, name) for name in _OPTIONS}
    if statistics:
        options |= _stored_options(statistics)
    if not settings.init_from:
        return build(
            settings.variant,
            num_classes,
            weights=None if settings.weights == "none" else settings.weights,
            **options,
        )
    # One network, or one for each trunk.
    suffixes = ("color", "hha") if settings.variant == COLOR_HHA else ("",)
    paths = split_paths(settings.init_from, len(suffixes))
    if len(paths) != len(suffixes):
        raise UserError(
            f"`init_from` of {settings.variant} must be {len(suffixes)} runs or .keras files, with "
            f"commas between. Received: {settings.init_from!r}."
        )
    sources = [load_network(path).full for path in paths]
    _check_channels(settings, sources, statistics)
    start = None
    if statistics:
        start, taken = _stored_start(settings, sources[0], statistics)
        options |= taken
    elif settings.backbone == VGG16:
        options |= _preprocessing(settings, sources)
    network = build(settings.variant, num_classes, weights=start, **options)
    layers = {
        layer.name + suffix: layer
        for source, suffix in zip(sources, suffixes, strict=True)
        for layer in source.layers
    }
    if settings.variant == COLOR_D and CONV1_1 in layers:
        layers.setdefault(CONV1_1_BGRD, layers[CONV1_1])
    others = copy_matching(layers, network)
    _check_backbone(settings, network, others, sources[0])
    copied = f"every layer but {', '.join(others)}" if others else "all layers"
    print(f"from {settings.init_from}: {copied}")
    return network


def _check_channels(settings, sources, statistics):
    """Refuses networks whose images have other channels than the new one's, but for photographs."""
    if settings.variant in OWN_CHANNELS:
        return
    wanted = len(statistics.mean) if statistics else 3
    for source in sources:
        channels = source.input_shape[-1]
        if channels not in (3, wanted):
            raise UserError(
                f"`init_from` must be a network on photographs, or on images of {wanted} channels. "
                f"Received: {settings.init_from}, which takes {channels}."
            )


def _stored_options(statistics):
    return dict(
        channels=len(statistics.mean),
        input_dtype=statistics.dtype,
        input_mean=statistics.mean,
        input_std=statistics.std,
    )


def _stored_start(settings, source, statistics):
    """What of a network's preprocessing is taken over where images are taken as stored."""
    stored, taken = stored_numbers(source), {}
    if stored and (stored.dtype, len(stored.mean)) == (statistics.dtype, len(statistics.mean)):
        taken = dict(input_mean=stored.mean, input_std=stored.std)
    if settings.backbone != VGG16:
        return None, taken
    start = Start(settings.variant)
    start.mean, start.std = preprocessing_of(source)
    return start, taken


def _check_backbone(settings, network, others, source):
    """Refuses the weights of a network on another classifier than a new one is on."""
    trunk = {layer.name for layer in network.layers if layer.weights and not is_of_head(layer)}
    missing = trunk & {*others}
    # VGG16 takes what fits. Others have relatives with layers of the same names and shapes.
    if missing == trunk or (missing and settings.backbone != VGG16):
        fits = f"{len(trunk) - len(missing)} of the {len(trunk)} layers"
        raise UserError(
            f"`init_from` must be networks on the same backbone. Received: {settings.init_from}, "
            f"which has {fits} that {settings.backbone} of width {settings.width:g} is made of. "
            "Give the `backbone` and the `width` of that network."
        )
    if settings.backbone != VGG16 and not same_preprocessing(network, source):
        raise UserError(
            "`init_from` must be networks with the same preprocessing. Received: "
            f"{settings.init_from}, which expects another one than {settings.backbone} has."
        )


def _preprocessing(settings, sources):
    """The mean and the divisor of the networks that weights come from, as `build` takes them."""
    means, stds = zip(*map(preprocessing_of, sources), strict=True)
    if len(set(stds)) > 1:
        raise UserError(
            "`init_from` must be networks that divide their images by one number. "
            f"Received: {' and '.join(map(str, stds))} in {settings.init_from}."
        )
    mean = sum(means, ())
    if settings.variant == COLOR_D and len(mean) == 3:
        mean += (LOG_DEPTH_MEAN,)
    return {"input_mean": settings.input_mean or mean, "input_std": stds[0]}
