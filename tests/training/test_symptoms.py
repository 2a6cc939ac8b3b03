"""What a run that goes wrong is told, and that one that goes well is told nothing."""

import numpy as np
import pytest

from fcn_keras.training.symptoms import Symptoms

CLASSES = ["sky", "road", "car"]
GOOD = np.array([[80, 10, 10], [5, 90, 5], [1, 1, 8]])
ALL_ROAD = np.array([[0, 100, 0], [0, 100, 0], [0, 10, 0]])


def told(losses, mean_ius=(), train=(), confusions=(), steps=100):
    """What is said in each epoch; those without a mean IU are not validated."""
    symptoms, said = Symptoms(CLASSES, steps), []
    for epoch, loss in enumerate(losses):
        row = {"epoch": epoch + 1, "loss": loss, "train_mean_iu": 0.5}
        if epoch < len(train):
            row["train_mean_iu"] = train[epoch]
        confusion = None
        if epoch < len(mean_ius) and mean_ius[epoch] is not None:
            row["mean_iu"] = mean_ius[epoch]
            confusion = confusions[epoch] if confusions else GOOD
        said.append(symptoms.of(row, confusion))
    return said


def test_a_good_run():
    rising = [0.3, 0.4, 0.5, 0.55, 0.54]
    assert told([1.0, 0.7, 0.6, 0.5, 0.4], rising, [0.3, 0.5, 0.6, 0.7, 0.8]) == [[]] * 5


def test_a_loss_that_does_not_fall():
    said = told([1.0, 1.01, 0.99, 0.995])
    assert [len(each) for each in said] == [0, 0, 1, 0]
    assert "has not fallen in 3 epochs (1, now 0.99)" in said[2][0]
    assert "--learning-rate" in said[2][0]
    assert told([1.0, 0.97, 1.2, 1.3]) == [[]] * 4  # it has fallen
    assert told([1.0, 1.0, 1.0], steps=10) == [[]] * 3  # too few steps to tell


@pytest.mark.parametrize(
    ("confusions", "epoch"),
    [
        ([ALL_ROAD, ALL_ROAD, ALL_ROAD], 1),
        ([GOOD, ALL_ROAD, ALL_ROAD], 2),
        ([ALL_ROAD, GOOD, ALL_ROAD], None),
        ([np.diag([0, 1000, 1])] * 3, None),  # there is hardly anything else
        ([ALL_ROAD, ALL_ROAD[:, [1, 0, 2]]], None),  # another each time
    ],
)
def test_one_class_everywhere(confusions, epoch):
    said = told([1.0, 0.5, 0.4][: len(confusions)], [0.2] * 3, confusions=confusions)
    assert [k for k, each in enumerate(said) if each] == ([] if epoch is None else [epoch])
    if epoch is not None:
        assert "'road'" in said[epoch][0] and "--loss cross_entropy+dice" in said[epoch][0]


def test_over_fitting():
    losses = [1.0, 0.8, 0.6, 0.5, 0.4, 0.3]
    falling, train = [0.4, 0.6, 0.59, 0.58, 0.57, 0.56], [0.4, 0.6, 0.7, 0.8, 0.85, 0.9]
    said = told(losses, falling, train)
    assert [len(each) for each in said] == [0, 0, 0, 0, 1, 0]
    assert "(0.600 in epoch 2, now 0.570)" in said[4][0] and "--patience 3" in said[4][0]
    assert told(losses, falling, [0.6] * 6) == [[]] * 6  # training does not rise either
    assert told(losses, [0.4, 0.6, 0.59, 0.595, 0.59, 0.595], train) == [[]] * 6


def test_epochs_before_a_stop_count():
    rows = [{"epoch": k + 1, "loss": 1.0, "train_mean_iu": 0.5} for k in range(2)]
    symptoms = Symptoms(CLASSES, 100, rows)
    assert len(symptoms.of({"epoch": 3, "loss": 1.0, "train_mean_iu": 0.5})) == 1


def test_what_was_told_before_a_stop_is_not_told_again():
    rows = [{"epoch": k + 1, "loss": 1.0, "train_mean_iu": 0.5 + k / 10} for k in range(5)]
    for row, mean_iu in zip(rows, [0.6, 0.59, 0.58, 0.57, 0.56], strict=True):
        row["mean_iu"] = mean_iu
    whole, again = Symptoms(CLASSES, 100), Symptoms(CLASSES, 100, rows[:4])
    assert [len(whole.of(row, GOOD)) for row in rows] == [0, 0, 1, 1, 0]
    assert again.of(rows[4], GOOD) == []
