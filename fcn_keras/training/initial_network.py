"""The network that a run starts from."""

import keras

from fcn_keras.errors import UserError
from fcn_keras.inference.network import load_network
from fcn_keras.models.fcn import build
from fcn_keras.models.variants import COLOR_HHA
from fcn_keras.models.weights.source import preprocessing_of
from fcn_keras.training.settings import Settings


def make_network(settings: Settings, num_classes) -> keras.Model:
    """Builds the network that a run starts from."""
    options = {
        name: getattr(settings, name)
        for name in (
            *("geometry", "output_stride", "width", "dropout"),
            *("learn_upsampling", "input_mean"),
        )
    }
    if not settings.init_from:
        weights = None if settings.weights == "none" else settings.weights
        return build(settings.variant, num_classes, weights=weights, **options)
    # One network, or one for each trunk.
    suffixes = ("color", "hha") if settings.variant == COLOR_HHA else ("",)
    paths = settings.init_from.split(",")
    if len(paths) != len(suffixes):
        raise UserError(
            f"`init_from` of {settings.variant} must be {len(suffixes)} runs or .keras files, with "
            f"commas between. Received: {settings.init_from!r}."
        )
    sources = [load_network(path).full for path in paths]
    means, stds = zip(*map(preprocessing_of, sources), strict=True)
    if len(set(stds)) > 1:
        raise UserError(
            "`init_from` must be networks that divide their images by one number. "
            f"Received: {' and '.join(map(str, stds))} in {settings.init_from}."
        )
    options["input_mean"] = settings.input_mean or sum(means, ())
    network = build(settings.variant, num_classes, weights=None, input_std=stds[0], **options)
    have = {
        layer.name + suffix: layer
        for source, suffix in zip(sources, suffixes, strict=True)
        for layer in source.layers
    }
    print(f"from {settings.init_from}: {_copy_matching(have, network)}")
    return network


def _copy_matching(have, network):
    """Copies the layers that agree in name and shapes, and says which do not."""
    new = []
    for layer in network.layers:
        if not layer.weights:
            continue
        same = have.get(layer.name)
        if same and [w.shape for w in same.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(same.get_weights())
        else:
            new.append(layer.name)
    return f"every layer but {', '.join(new)}" if new else "all layers"
