"""A training step as others make it: on the same images, with the same loss and Adam.

None of them counts pixels or weighs losses, which `fcn_keras.training.task.SegmentationTask` does
besides.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from fcn_keras.bench.peers.forward import resident

PATIENCE = 30.0  # seconds after which a process takes the time of no further step


def usual_keras_step(step) -> Callable:
    """What `fit` does with a network written the usual way.

    Args:
        step: `fcn_keras.bench.steps.Step`.

    Returns:
        A function that makes a training step on images and labels, and waits until it is done.
    """
    import keras

    from fcn_keras.bench.peers.usual_keras import usual_keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(step.precision)
    try:
        model = usual_keras(step.variant, step.num_classes, step.size, step.width, std=64.0)
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(
        keras.optimizers.Adam(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return lambda batch: model.fit(*batch, batch_size=len(batch[0]), verbose=0)


def torch_step(step, channels_last=False) -> Callable:
    """The same in eager PyTorch, on the CPU, on arrays."""
    import torch

    from fcn_keras.bench.peers.usual_torch import FCN

    model = FCN(step.variant, step.num_classes, step.width, std=64.0)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learned, 1e-4, fused=True)
    autocast = torch.autocast("cpu", enabled=step.precision == "mixed_bfloat16")

    def train(batch):
        images, labels = map(torch.from_numpy, batch)
        with autocast:
            scores = model(images)
        loss = torch.nn.functional.cross_entropy(scores.float(), labels[..., 0].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train


STEPS = {
    "keras": ("Keras, the usual way", usual_keras_step),
    "torch": ("PyTorch", torch_step),
    "torch_channels_last": (
        "PyTorch, channels last",
        lambda step: torch_step(step, channels_last=True),
    ),
}


def time_steps(train: Callable, batch: tuple, times: int) -> dict[str, list[float]]:
    """Returns `seconds` and `cpu_seconds` of training steps, all but the first one."""
    train(batch)
    found = {"seconds": [], "cpu_seconds": []}
    while len(found["seconds"]) < times and sum(found["seconds"]) < PATIENCE:
        wall, cpu = time.perf_counter(), time.process_time()
        train(batch)
        found["seconds"].append(time.perf_counter() - wall)
        found["cpu_seconds"].append(time.process_time() - cpu)
    return found


def _main():
    """Does for PyTorch what `fcn_keras.bench.steps` does, without importing TensorFlow."""
    asked = json.load(sys.stdin)
    step = SimpleNamespace(**asked["step"])
    rng = np.random.default_rng(0)
    shape = (step.batch_size, *step.size)
    images = rng.integers(0, 256, (*shape, 3), "uint8")
    batch = images, rng.integers(0, step.num_classes, (*shape, 1), "uint8")
    import torch  # noqa: F401  # what the library takes is there before the network is

    built = resident()["resident"]
    train = STEPS[step.peer][1](step)
    started = resident()["resident"]
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is set back
    found = time_steps(train, batch, asked["times"])
    peak = resident()["peak"]
    print(json.dumps(found | {"process": peak - built, "steps": peak - started}))


if __name__ == "__main__":
    _main()
