"""A training step in a process of its own, `python -m fcn_keras.bench.peers.training`.

It is ours, or what others make of the same images, with the same loss and Adam. None of them
counts pixels or weighs losses, which ours does besides. The process reads what to measure as JSON,
and prints its figures.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial

from fcn_keras.bench.step import Step, make_batch, make_task, make_trainer
from fcn_keras.system import memory

PATIENCE = 30.0  # seconds after which a process takes the time of no further step

Train = Callable[[tuple], object]


def usual_keras_step(step: Step) -> Train:
    """Returns what `fit` does with a network written the usual way, on images and labels."""
    import keras

    from fcn_keras.bench.peers.usual_keras import usual_keras

    model = usual_keras(step.variant, step.num_classes, step.size, step.width, std=64.0)
    model.compile(
        keras.optimizers.Adam(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return lambda batch: model.fit(*batch, batch_size=len(batch[0]), verbose=0)


def torch_step(step: Step, channels_last: bool = False) -> Train:
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


TRAINERS: dict[str | None, Callable[[Step], Train]] = {
    None: lambda step: make_trainer(make_task(step)),
    "keras": usual_keras_step,
    "torch": torch_step,
    "torch_channels_last": partial(torch_step, channels_last=True),
}


def measure(step: Step, times: int) -> dict[str, list[float]]:
    """Makes training steps in this process, on its first GPU or else its CPU.

    Args:
        step: what a step is. Its precision becomes that of the process.
        times: how many steps to take the time of, unless they take long.

    Returns:
        `seconds` and `cpu_seconds`, by the clock and of all cores, of every step but the first: on
        a machine that does other work too the latter vary less. And of one number each:
        `process_bytes`, at the most during the steps, beyond those before the network was built;
        `step_bytes`, the same beyond those before the first step; `tensor_bytes`, those of
        TensorFlow's tensors alone, beyond those before the first step, or none where they are not
        counted. They vary less from one process to the next.
    """
    # What the library takes is there before the network is. PyTorch cannot be relied on to run
    # where TensorFlow has been imported.
    if step.in_torch:
        import torch  # noqa: F401
    else:
        import keras

        keras.config.set_dtype_policy(step.precision)
    batch = make_batch(step)
    built = memory.memory_in_use().now
    train = TRAINERS[step.peer](step)
    started, tensors = memory.memory_in_use().now, memory.tensors_in_use()
    memory.forget_peak()
    figures = time_steps(train, batch, times)
    peak, most = memory.memory_in_use().peak, memory.tensors_in_use()
    figures["process_bytes"] = [peak - built]
    figures["step_bytes"] = [peak - started]
    figures["tensor_bytes"] = [most.peak - (tensors.now if tensors else 0)] if most else []
    return figures


def time_steps(train: Train, batch: tuple, times: int) -> dict[str, list[float]]:
    """Returns `seconds` and `cpu_seconds` of training steps, all but the first one."""
    train(batch)
    figures: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
    while len(figures["seconds"]) < times and sum(figures["seconds"]) < PATIENCE:
        wall, cpu = time.perf_counter(), time.process_time()
        train(batch)
        figures["seconds"].append(time.perf_counter() - wall)
        figures["cpu_seconds"].append(time.process_time() - cpu)
    return figures


def _main():
    asked = json.load(sys.stdin)
    print(json.dumps(measure(Step(**asked["step"]), asked["times"])))


if __name__ == "__main__":
    _main()
