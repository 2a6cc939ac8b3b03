import numpy as np
import pytest
import tensorflow as tf
from helpers.classifiers import scatter, tiny
from helpers.networks import photo, scatter_scores

from fcn_keras import build
from fcn_keras.cpu.class_ids import class_ids, parts_of
from fcn_keras.cpu.products import with_own_products


@pytest.mark.parametrize("classes", [1, 2, 21, 256])
def test_the_first_of_the_largest(classes):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (2, 9, 7, classes)).astype("float32")  # many are alike
    found = tf.function(class_ids)(scores)
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, scores.argmax(axis=-1))


def test_no_images():
    assert class_ids(tf.zeros((0, 4, 5, 3))).shape == (0, 4, 5)


def test_what_is_no_number():
    scores = np.array([[np.nan] * 3, [-np.inf] * 3, [-np.inf, 1, np.inf]], "float32")
    np.testing.assert_array_equal(class_ids(scores[None, None])[0, 0], [0, 0, 2])


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("rebuild", [with_own_products, lambda model: model])
def test_networks_that_end_in_classes(rebuild, on_gpu):
    model = scatter_scores(build("fcn8s", 3, backbone=scatter(tiny()), preprocessing="tf"))
    parts = parts_of(rebuild(model), on_gpu)
    before = tf.function(parts.before, autograph=False)
    for size in ((64, 64), (45, 70), (37, 53), (3, 9)):
        images = photo(*size, count=2)
        expected = np.asarray(model(images)).argmax(axis=-1)
        found = parts.label(*before(images))
        np.testing.assert_allclose(parts.logits(*before(images)), model(images), atol=1e-4)
        assert found.dtype == tf.uint8 and found.shape == expected.shape
        assert np.mean(found == expected) > 0.999
