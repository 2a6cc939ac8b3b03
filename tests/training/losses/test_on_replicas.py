"""Each loss takes the same step, however a batch is spread over replicas."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import loss_gradients
from helpers.loss_gradients import LOSSES, batch, network

from fcn_keras.training.losses.sums import make_loss


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("steps"), {}
    for devices in (1, 2, 4):
        output = folder / f"{devices}.npz"
        program = [sys.executable, loss_gradients.__file__, str(devices), output]
        subprocess.run(program, check=True)
        found[devices] = dict(np.load(output))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("text", LOSSES)
def test_every_spread_is_one_step(text, found):
    steps = [found[devices][f"{text}/step"] for devices in (1, 2, 4)]
    assert np.abs(steps[0]).max() > 1e-2
    for step in steps[1:]:
        np.testing.assert_allclose(step, steps[0], rtol=0, atol=1e-6)
    losses = [float(found[devices][f"{text}/loss"]) for devices in (1, 2, 4)]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("text", LOSSES)
def test_training_reports_what_keras_computes(text, found):
    images, labels = batch()
    expected = make_loss(text)(labels, network()(tf.cast(images, "float32")))
    assert float(found[1][f"{text}/loss"]) == pytest.approx(float(expected), rel=1e-5)
