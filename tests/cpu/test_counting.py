import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.cpu.counting import count_pairs
from fcn_keras.evaluation.metrics import confusion_matrix


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize(("classes", "ignore_label"), [(1, 255), (5, 255), (5, 2), (250, 255)])
def test_pixel_by_pixel(classes, ignore_label, dtype):
    rng = np.random.default_rng(0)
    labels = rng.choice([*range(classes), 255, 254, 253], (3, 9, 11)).astype(dtype)
    class_ids = rng.integers(0, classes, labels.shape).astype("uint8")
    expected, strange = np.zeros((classes, classes), int), 0
    for label, other in zip(labels.ravel(), class_ids.ravel(), strict=True):
        if label == ignore_label:
            continue
        if label < classes:
            expected[label, other] += 1
        else:
            strange += 1
    found = tf.function(count_pairs)(labels, class_ids, classes, ignore_label)
    for matrix, unknown in (found, confusion_matrix(labels, class_ids, classes, ignore_label)):
        np.testing.assert_array_equal(matrix, expected)
        assert int(unknown) == strange


def test_nothing():
    matrix, unknown = count_pairs(tf.zeros((0, 3), tf.uint8), tf.zeros((0, 3), tf.uint8), 2)
    assert matrix.numpy().tolist() == [[0, 0], [0, 0]] and int(unknown) == 0
