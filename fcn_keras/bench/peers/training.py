"""A training step in a process of its own, `python -m fcn_keras.bench.peers.training`.

It is ours, or what others make of the same images, with the same loss and Adam; on MobileNetV2
others have networks of their own. None of them counts pixels or weighs losses, which ours does
besides. The process reads what to measure as JSON,
and prints its figures.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fcn_keras.bench.peers.programs import STEPS
from fcn_keras.bench.steps import Step
from fcn_keras.models.variants import channels_of
from fcn_keras.system import memory

if TYPE_CHECKING:
    from fcn_keras.training.task import SegmentationTask

PATIENCE = 30.0  # seconds after which a process takes the time of no further step

Train = Callable[[tuple], object]


def make_batch(step: Step) -> tuple:
    """Makes random images and labels: TensorFlow's tensors, or arrays for PyTorch."""
    shape, rng = (step.images, *step.size), np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, channels_of(step.variant)), "uint8")
    labels = rng.integers(0, step.num_classes, (*shape, 1), "uint8")
    if step.in_torch:
        return images, labels
    import tensorflow as tf

    return tf.constant(images), tf.constant(labels)


def make_task(step: Step) -> "SegmentationTask":
    """Builds what `fcn_keras.train` would train, with Adam and from random weights.

    Batch normalisation is frozen, as it is where weights are pre-trained.
    """
    import keras

    from fcn_keras.models.backbones import VGG16
    from fcn_keras.models.fcn import build
    from fcn_keras.training.adam import Adam
    from fcn_keras.training.batch_norm import settle
    from fcn_keras.training.freezing import freeze
    from fcn_keras.training.settings import Settings
    from fcn_keras.training.task import SegmentationTask

    keras.utils.set_random_seed(0)
    ours: dict[str, Any] = {}
    if step.backbone == VGG16:
        ours["elide_padding"] = step.elide_padding
    network = build(
        step.variant,
        step.num_classes,
        weights=None,
        width=step.width,
        backbone=step.backbone,
        **ours,
    )
    settle(network, Settings(batch_norm="frozen"))
    freeze(network, step.freeze)
    task = SegmentationTask(network, micro_batch=step.batch_size, remat=step.remat)
    task.compile(Adam(1e-4), jit_compile=False)
    return task


def make_trainer(task: "SegmentationTask") -> Train:
    """Returns a function that makes a training step on a batch, and waits until it is done."""
    task.make_train_function(force=True)
    function = task.train_function
    return lambda batch: function(iter([batch]))["loss"].numpy()


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


def torch_step(step: Step) -> Train:
    """The same in eager PyTorch, on the CPU, on arrays."""
    import torch

    from fcn_keras.bench.peers.usual_torch import FCN

    peer = STEPS[step.peer or ""]
    if peer.smp:
        from fcn_keras.bench.peers.smp import SmpNetwork

        model = SmpNetwork(peer.smp, step.num_classes).train()
    else:
        model = FCN(step.variant, step.num_classes, step.width, std=64.0)
    if peer.channels_last:
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


def make_train(step: Step) -> Train:
    """Returns what makes a step on a batch: this package, or the step's peer."""
    if step.in_torch:
        return torch_step(step)
    return usual_keras_step(step) if step.peer else make_trainer(make_task(step))


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

        if STEPS[step.peer or ""].smp:
            import segmentation_models_pytorch  # noqa: F401
    else:
        import keras

        keras.config.set_dtype_policy(step.precision)
    batch = make_batch(step)
    built = memory.memory_in_use().now
    train = make_train(step)
    started, tensors = memory.memory_in_use().now, memory.tensors_in_use()
    memory.forget_peak()
    figures: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
    train(batch)
    while len(figures["seconds"]) < times and sum(figures["seconds"]) < PATIENCE:
        wall, cpu = time.perf_counter(), time.process_time()
        train(batch)
        figures["seconds"].append(time.perf_counter() - wall)
        figures["cpu_seconds"].append(time.process_time() - cpu)
    peak, most = memory.memory_in_use().peak, memory.tensors_in_use()
    return figures | {
        "process_bytes": [peak - built],
        "step_bytes": [peak - started],
        "tensor_bytes": [most.peak - (tensors.now if tensors else 0)] if most else [],
    }


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(measure(Step(**asked["step"]), asked["times"])))
