"""What pixels of each class weigh, by the words that a user gives."""

import numpy as np
import pytest

from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.losses.class_weights import chosen_weights

NAMES = ["sky", "road, wet", "a=b", "road", "car"]
COUNTS = np.array([400, 100, 25, 0, 50])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", None),
        # 75 is the median of 25, 50, 100 and 400; what does not occur weighs 1.
        ("sqrt_median_frequency", np.sqrt([75 / 400, 75 / 100, 3, 1, 75 / 50])),
        ("car=3", [1, 1, 1, 1, 3]),
        ("road=0,sky=1e-1", [0.1, 1, 1, 0, 1]),
        ("road, wet=2,road=4,a=b=5", [1, 2, 5, 4, 1]),
    ],
)
def test_weights(text, expected):
    found = chosen_weights(text, NAMES, COUNTS)
    assert found == (None if expected is None else pytest.approx(expected))
    assert resolve("small", class_weights=text).class_weights == text


@pytest.mark.parametrize(
    "text",
    [
        "pole=1",
        "car",
        "car=",
        "car=x",
        "car=-1",
        "car=nan",
        "car=inf",
        "car=1,car=2",
        "car=1,",
        ",car=1",
        "car=1 sky=2",
        "=1",
    ],
)
def test_no_weights(text):
    with pytest.raises(UserError, match="`class_weights` must be .*sky, road, wet, .*Received: '"):
        chosen_weights(text, NAMES, COUNTS)


@pytest.mark.parametrize("text", ["", "median", "sqrt"])
def test_no_setting(text):
    with pytest.raises(UserError, match="`class_weights` must be none, sqrt_median_frequency, or"):
        resolve("small", class_weights=text)


def test_losses_that_weigh_classes_alike_take_no_weights():
    with pytest.raises(
        UserError, match="`class_weights` must be none where `loss` has none of cro"
    ):
        resolve("small", loss="dice+lovasz")
    assert resolve("small", loss="dice+lovasz", class_weights="none").loss == "dice+lovasz"
    assert resolve("small", loss="dice+ohem").class_weights == "sqrt_median_frequency"
