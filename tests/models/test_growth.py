import keras
import numpy as np
import pytest
from helpers.classifiers import scatter, tiny
from helpers.networks import photo_for, scatter_scores, small

from fcn_keras import UserError, build, expand_classes
from fcn_keras.models.bilinear import bilinear_kernel
from fcn_keras.models.variants import VARIANTS


def randomized(variant, **options):
    """A network with random scores, and kernels that upsample otherwise than bilinearly."""
    model = scatter_scores(small(variant, 3, width=1 / 32, **options))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("up"):
            (kernel,) = layer.get_weights()
            layer.set_weights([kernel + rng.normal(0, 0.05, kernel.shape)])
    return model


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("classes", [3, 4, 9])
def test_old_classes_keep_their_scores(variant, classes):
    model = randomized(variant, learn_upsampling=variant == "fcn16s")
    image = photo_for(model, 41, 60)
    before = [w.numpy() for w in model.weights]
    grown = expand_classes(model, classes)
    logits, old = np.asarray(grown(image)), np.asarray(model(image))
    assert logits.shape == (1, 41, 60, classes) and logits.dtype == np.float32
    assert np.ptp(old) > 0.1
    # Equal but for the order in which more channels are summed.
    np.testing.assert_allclose(logits[..., :3], old, rtol=0, atol=2e-6 * np.abs(old).max())
    assert not logits[..., 3:].any()
    assert grown.name == model.name
    for layer in model.layers:
        for weight, new in zip(layer.weights, grown.get_layer(layer.name).weights, strict=True):
            cut = tuple(slice(n) for n in weight.shape)
            np.testing.assert_array_equal(new.numpy()[cut], weight.numpy())
    assert len(grown.trainable_weights) == len(model.trainable_weights)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_new_classes_are_upsampled_bilinearly():
    model = randomized("fcn8s")
    grown = expand_classes(model, 5)
    for name, size in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
        (old,), (new,) = model.get_layer(name).get_weights(), grown.get_layer(name).get_weights()
        assert new.shape == (size, size, 5, 5)
        np.testing.assert_array_equal(new[:, :, :3, :3], old)
        for out in range(5):
            for into in range(5):
                if max(out, into) >= 3:
                    expected = bilinear_kernel(size) if out == into else 0 * bilinear_kernel(size)
                    np.testing.assert_array_equal(new[:, :, out, into], expected)


def test_new_classes_can_be_learned():
    grown = expand_classes(randomized("fcn16s"), 5)
    image = photo_for(grown, 41, 60)
    old = np.asarray(grown(image))
    for name in ("score_fr", "score_pool4"):
        kernel, bias = grown.get_layer(name).get_weights()
        kernel[..., 4] = 0.1
        grown.get_layer(name).set_weights([kernel, bias])
    new = np.asarray(grown(image))
    np.testing.assert_allclose(new[..., :4], old[..., :4], atol=1e-5)
    assert np.ptp(new[..., 4]) > 0


def test_the_copy_shares_nothing():
    model = randomized("fcn32s")
    grown = expand_classes(model, 4, name="mine")
    assert grown.name == "mine"
    grown.get_layer("conv1_1").set_weights(
        [0 * w for w in model.get_layer("conv1_1").get_weights()]
    )
    assert model.get_layer("conv1_1").get_weights()[0].any()


@pytest.mark.parametrize("variant", ["fcn8s", "fcn-alexnet", "fcn32s-color-hha"])
def test_grown_networks_are_saved(variant, tmp_path):
    grown = expand_classes(randomized(variant), 4)
    grown.save(tmp_path / "grown.keras")
    image = photo_for(grown, 33, 20)
    loaded = keras.models.load_model(tmp_path / "grown.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(image), grown(image), atol=1e-6)
    again = small(variant, 4, width=1 / 32, weights=tmp_path / "grown.keras")
    np.testing.assert_allclose(again(image), grown(image), atol=1e-6)


def test_a_dilated_network():
    model = randomized("fcn32s", output_stride=8)
    image = photo_for(model, 33, 40)
    logits = np.asarray(expand_classes(model, 4)(image))
    np.testing.assert_allclose(logits[..., :3], model(image), atol=1e-5)
    assert not logits[..., 3].any()


def test_a_network_on_another_classifier(tmp_path):
    model = build("fcn8s", 3, backbone=tiny(), preprocessing="tf")
    scatter(model)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    image = photo_for(model, 41, 60)
    grown = expand_classes(model, 5)
    logits, old = np.asarray(grown(image)), np.asarray(model(image))
    assert np.ptp(old) > 0.1
    np.testing.assert_allclose(logits[..., :3], old, rtol=0, atol=2e-6 * np.abs(old).max())
    assert not logits[..., 3:].any()
    # A kernel with a middle, as the maps lie here.
    (kernel,) = grown.get_layer("upscore8").get_weights()
    np.testing.assert_array_equal(kernel[:, :, 4, 4], bilinear_kernel(15))
    assert len(grown.trainable_weights) == len(model.trainable_weights)
    grown.save(tmp_path / "grown.keras")
    loaded = keras.models.load_model(tmp_path / "grown.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(image), logits, atol=1e-6)


def test_fewer_classes():
    with pytest.raises(UserError, match="at least the 3 that fcn32s has. Received: 2"):
        expand_classes(small("fcn32s", 3), 2)


def several_heads():
    return small("fcn32s", {"sem": 3, "geo": 2})


def another():
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(3, 1, name="conv")(image))


@pytest.mark.parametrize("make", [several_heads, another])
def test_other_networks(make):
    with pytest.raises(UserError, match="must be a network of this package with one head"):
        expand_classes(make(), 5)
