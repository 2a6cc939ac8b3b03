"""What the package computes on one backend, for `test_backends.py` to compare.

    KERAS_BACKEND=jax python backend_steps.py OUT SAVED

Writes to the folder OUT each network as `<variant>.keras` and all numbers as `numbers.npz`. SAVED
is the OUT of a run on TensorFlow, whose networks are opened too; that run itself has none.
"""

import sys
import warnings
from pathlib import Path

import keras
import numpy as np

BACKEND = keras.backend.backend()
CLASSES = 5
VARIANTS = ("fcn8s", "fcn32s", "fcn8s-atonce", "fcn-alexnet", "fcn32s-color-d")
NORMALIZATIONS = ("valid_pixels", "image", "sum")
CLASS_WEIGHTS = (0.5, 1.0, 2.0, 0.0, 3.0)
SAMPLE_WEIGHTS = {
    "of_images": np.array([1.0, 0.5, 2.0, 0.0]),
    "of_pixels": np.random.default_rng(4).random((4, 40, 52, 1)),
}
VOID = 255


class Missing:
    """Makes a package fail to import, installed or not."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def batch():
    """Four images and their labels: one whole, one mostly void, one all void, one speckled."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 40, 52, 3), dtype=np.uint8)
    labels = rng.integers(0, CLASSES - 1, (4, 40, 52), dtype=np.uint8)  # the last never occurs
    labels[1, :30] = VOID
    labels[2] = VOID
    labels[3][rng.random((40, 52)) < 0.1] = VOID
    return images, labels


def images_for(variant, images):
    """The images, with a depth of 16 bits behind the colours where a network takes one."""
    if variant != "fcn32s-color-d":
        return images
    depth = np.random.default_rng(5).integers(0, 60000, (*images.shape[:3], 1))
    return np.concatenate([images, depth], axis=-1).astype("uint16")


def build_filled(variant, saved, **options):
    """A network with fixed weights; its transposed convolutions stay as they were built."""
    from fcn_keras import build

    weights = saved / f"{variant}.keras" if saved else None
    network = build(variant, CLASSES, weights=weights, width=1 / 32, dropout=0.0, **options)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = (weight.shape for weight in layer.weights)
            scale = np.sqrt(2 / np.prod(kernel[:-1]))
            layer.set_weights([scale * rng.normal(size=kernel), 0.1 * rng.normal(size=bias)])
            # Opening a file runs the initializers in it; JAX compiles random ones for seconds.
            layer.kernel_initializer = keras.initializers.Zeros()
    return network


def logits_of_files(folder, images):
    """What plain Keras, without this package, makes of the networks in a folder."""
    missing = Missing("fcn_keras")
    sys.meta_path.insert(0, missing)
    found = {}
    for variant in VARIANTS:
        network = keras.models.load_model(folder / f"{variant}.keras", safe_mode=True)
        found[f"opened/{variant}"] = network.predict_on_batch(images_for(variant, images))
    sys.meta_path.remove(missing)
    return found


def losses_and_scores(labels):
    """The loss and the scores of fixed logits, many of which tie."""
    from fcn_keras import PixelCrossEntropy, SegmentationScores
    from fcn_keras.training.losses.sums import make_loss

    logits = np.random.default_rng(2).normal(size=(*labels.shape, CLASSES), scale=3)
    # 0.0 makes 0.0 of -0.0, which Keras takes for less on some backends and not on others.
    logits = logits.round().astype("float32") + 0.0
    found = {}
    for normalization in NORMALIZATIONS:
        for weights in (None, CLASS_WEIGHTS):
            loss = PixelCrossEntropy(normalization=normalization, class_weights=weights)
            name = f"loss/{normalization}{'_weighted' if weights else ''}"
            found[name] = loss(labels, logits)
        loss = PixelCrossEntropy(normalization=normalization)
        for kind, weights in SAMPLE_WEIGHTS.items():
            found[f"loss/{normalization}_{kind}"] = loss(labels, logits, sample_weight=weights)
    for name in ("dice", "focal", "lovasz", "ohem"):
        found[f"loss/{name}"] = make_loss(name)(labels, logits)

    metric = SegmentationScores(CLASSES)
    for part in (slice(0, 3), slice(3, 4)):
        metric.update_state(labels[part], logits[part])
    found["confusion"] = metric.confusion
    weighted = SegmentationScores(CLASSES)
    weighted.update_state(labels, logits, sample_weight=[2, 0, 1, 3])
    found["weighted_confusion"] = weighted.confusion
    found |= {f"scores/{name}": score for name, score in metric.result().items()}
    found = {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}

    try:
        metric.update_state(labels - 4, logits)  # 0 turns into 252
    except ValueError as error:
        found["refused"] = str(error)

    metric.confusion.assign(np.full((CLASSES, CLASSES), 2**27))  # 32 bits do not hold their sum
    found["after_billions"] = keras.ops.convert_to_numpy(metric.result()["mean_accuracy"])
    return found


def train(name, network, optimizer, batch_size, images, labels, loss="cross_entropy"):
    """Three epochs of `fit`: their losses and scores, and the weights before and after."""
    from fcn_keras import SegmentationScores
    from fcn_keras.training.losses.sums import make_loss

    network.compile(optimizer, make_loss(loss), metrics=[SegmentationScores(CLASSES)])
    found = weights_of(network, f"{name}_before")
    options = dict(batch_size=batch_size, epochs=3, shuffle=False, verbose=0)
    history = network.fit(images, labels, **options).history
    found[f"{name}_loss"] = history.pop("loss")
    found[f"{name}_scores"] = [history[score] for score in sorted(history)]
    return found | weights_of(network, f"{name}_after")


def weights_of(network, prefix):
    return {
        f"{prefix}/{layer.name}/{number}": value
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose)
        for number, value in enumerate(layer.get_weights())
    }


def updated_by_caffe():
    """Three updates of one variable, each with a gradient of its own."""
    from fcn_keras import CaffeSGD

    variable = keras.Variable(np.ones(3, "float32"), name="bias")
    optimizer = CaffeSGD(0.1, momentum=0.5, decay=0.1)
    for gradient in np.eye(3, dtype="float32"):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


def main(out, saved=None):
    if BACKEND != "tensorflow":
        assert "tensorflow" not in sys.modules
        sys.meta_path.insert(0, Missing("tensorflow"))
    warnings.simplefilter("error")
    # As in pyproject.toml.
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)

    images, labels = batch()
    found = logits_of_files(saved, images) if saved else {}
    for variant in VARIANTS:
        network = build_filled(variant, saved)
        found[f"logits/{variant}"] = network.predict_on_batch(images_for(variant, images))
        network.save(out / f"{variant}.keras")
    found |= losses_and_scores(labels)
    found["updated"] = updated_by_caffe()

    from fcn_keras import CaffeSGD

    network = build_filled("fcn8s", saved, learn_upsampling=True)
    found |= train("sgd", network, keras.optimizers.SGD(0.05, 0.9), 4, images, labels)
    network = build_filled("fcn8s", saved, learn_upsampling=True)
    caffe = CaffeSGD(0.05, momentum=0.9, accumulate=2)
    found |= train("caffe", network, caffe, 2, images, labels)
    network = build_filled("fcn8s", saved, learn_upsampling=True)
    every = "cross_entropy+focal+ohem+0.5*dice+0.5*lovasz"
    found |= train("every", network, keras.optimizers.SGD(0.02, 0.9), 4, images, labels, every)
    if BACKEND == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        network = build_filled("fcn8s", saved, learn_upsampling=True)
        found["devices"] = len(network.weights[0].value.sharding.device_set)
        found |= train("parallel", network, keras.optimizers.SGD(0.05, 0.9), 4, images, labels)
    np.savez(out / "numbers.npz", **found)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
