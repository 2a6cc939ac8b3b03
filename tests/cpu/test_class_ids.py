import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.cpu.class_ids import class_ids


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 21, 256])
def test_the_first_of_the_largest(classes, on_gpu):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (2, 9, 7, classes)).astype("float32")  # many are alike
    found = tf.function(class_ids)(scores, on_gpu)
    assert found.dtype == tf.uint8
    np.testing.assert_array_equal(found, scores.argmax(axis=-1))


def test_no_images():
    assert class_ids(tf.zeros((0, 4, 5, 3))).shape == (0, 4, 5)


def test_what_is_no_number():
    scores = np.array([[np.nan] * 3, [-np.inf] * 3, [-np.inf, 1, np.inf]], "float32")
    np.testing.assert_array_equal(class_ids(scores[None, None])[0, 0], [0, 0, 2])
