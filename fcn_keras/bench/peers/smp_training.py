"""A training of a network of smp, in a process of its own.

`python -m fcn_keras.bench.peers.smp_training` reads JSON: `method`, `run_dir`, `loss` and
`settings`, those of the recipe `light` that differ from it. It writes `log.csv` into the folder as
`train` does, with seconds, losses and validation scores, and `about.json`.

The images, their order and variation, the update rule with its rates and the layers that do not
learn are those of the settings. The loss is cross-entropy without void, or the settings' own.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import torch

# isort: split
# PyTorch cannot be relied on to run where TensorFlow has been imported before it.
import numpy as np
import segmentation_models_pytorch as smp

from fcn_keras.bench.peers.smp import MULTIPLE, SmpNetwork, turned
from fcn_keras.data.augmentation import PADDING_COLOR
from fcn_keras.data.batches import evaluation_batches, reading_errors, training_batches
from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, Remembered, Split
from fcn_keras.errors import UserError
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.evaluation.scores import SCORES, scores_of
from fcn_keras.models.weights.classifiers import named_classifier
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.files import written_whole
from fcn_keras.system.processor import cores
from fcn_keras.training.crops import augmentation_of
from fcn_keras.training.freezing import freeze
from fcn_keras.training.losses.class_weights import chosen_weights
from fcn_keras.training.losses.names import CROSS_ENTROPY, DICE, parse_loss
from fcn_keras.training.optimizers import learning_rate_of
from fcn_keras.training.run import Run
from fcn_keras.training.settings import Settings
from fcn_keras.training.train import CACHE_BYTES, dataset_of, source_of

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

TRIALS = 3  # steps in each order of the maps, of which the fastest counts


def train(name: str, settings: Settings, loss: str, folder: Path) -> None:
    """Trains a network, and writes what `fcn_keras.train` writes of its epochs.

    Args:
        name: one of `fcn_keras.bench.peers.programs.SMP`.
        settings: those of our training.
        loss: losses that are added up, see `make_loss`.
        folder: where to write.

    Raises:
        UserError: if it cannot be trained so.
    """
    torch.set_num_threads(cores())
    torch.manual_seed(settings.seed)
    source = source_of(settings)
    dataset = dataset_of(settings, source)
    counts = source.check()["train"]
    train_split, val_split = (
        Remembered(dataset.splits[name], CACHE_BYTES) for name in ("train", "val")
    )
    epochs, steps = settings.length(len(train_split))
    stream = training_batches(
        train_split,
        augmentation_of(settings),
        settings.batch_size,
        settings.seed,
        images_alone=True,  # a decoder's batch normalisation learns from whole batches
    ).as_numpy_iterator()
    network = make_network(name, settings, dataset.num_classes)
    measure = make_loss(loss, settings, dataset, counts)
    first = next(stream)
    channels_last = is_faster_channels_last(network, measure, first)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    with written_whole(folder / "about.json") as aside:
        aside.write_text(json.dumps({"channels_last": channels_last}), "utf-8")
    step = make_step(network, measure, settings, epochs * steps)
    batches = chain([first], stream)
    run, rows = Run(folder), list[dict]()
    for epoch in range(1, epochs + 1):
        network.train()
        started, losses = time.perf_counter(), []
        for _ in range(steps):
            losses.append(step(next(batches)))
        row: dict[str, Any] = {"epoch": epoch, "seconds": time.perf_counter() - started}
        row["loss"] = float(np.mean(losses))
        if (epochs - epoch) % settings.validate_every == 0:
            scores = validate(network.eval(), val_split, settings.batch_size, dataset.num_classes)
            row |= {score: scores[score] for score in SCORES}
        rows.append(row)
        run.write_rows(rows)
        print(row, flush=True)


def make_network(name: str, settings: Settings, num_classes: int) -> SmpNetwork:
    """Returns a network with the settings' weights in its encoder, frozen as they say."""
    weights = None if settings.weights == "none" else settings.weights
    classifier = named_classifier(settings.backbone, weights)
    freeze(classifier, settings.freeze)
    network = SmpNetwork(name, num_classes)
    network.copy_encoder(classifier)
    return network.train()


def make_loss(text: str, settings: Settings, dataset: Dataset, counts: np.ndarray) -> Loss:
    """Returns a loss of logits and labels, both `(N, .., H, W)`, over the pixels without void.

    Args:
        text: `cross_entropy`, with the settings' class weights, `dice`, which is smp's own, or
            both, see `fcn_keras.training.losses.names.parse_loss`.
        settings, dataset: what is trained on.
        counts: how many pixels have each label.

    Raises:
        UserError: if the text names another loss.
    """
    factors = parse_loss(text)
    if others := {*factors} - {CROSS_ENTROPY, DICE}:
        raise UserError(f"smp is not trained with {', '.join(others)} here.")
    chosen = chosen_weights(settings.class_weights, dataset.classes, counts[: dataset.num_classes])
    weights = None if chosen is None else torch.tensor(chosen)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE_LABEL)

    def cross_entropy(logits, labels):
        losses = torch.nn.functional.cross_entropy(
            logits, labels, weights, ignore_index=IGNORE_LABEL, reduction="sum"
        )
        return losses / (labels != IGNORE_LABEL).sum().clamp(min=1)

    terms = {CROSS_ENTROPY: cross_entropy, DICE: dice}
    return lambda logits, labels: sum(
        factor * terms[name](logits, labels) for name, factor in factors.items()
    )


def is_faster_channels_last(network: SmpNetwork, loss: Loss, batch: tuple) -> bool:
    """Whether gradients are had sooner with channels last; of copies, so nothing is learned."""
    seconds = []
    for order in (torch.contiguous_format, torch.channels_last):
        copy = deepcopy(network).to(memory_format=order)
        images, labels = prepared(*batch)
        times = []
        for _ in range(TRIALS):
            started = time.perf_counter()
            loss(copy(images), labels).backward()
            times.append(time.perf_counter() - started)
        seconds.append(min(times))
    return seconds[1] < seconds[0]


def make_step(
    network: SmpNetwork, loss: Loss, settings: Settings, total_steps: int
) -> Callable[[tuple], float]:
    """Returns what trains a network on a batch, and returns its loss: the settings' Adam."""
    within = {id(parameter) for parameter in network.encoder.parameters()}
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    encoder = [parameter for parameter in learned if id(parameter) in within]
    head = [parameter for parameter in learned if id(parameter) not in within]
    # What Keras has, where PyTorch has an epsilon of 1e-8.
    optimizer = torch.optim.Adam([{"params": encoder}, {"params": head}], eps=1e-7, fused=True)
    rates = _rates(settings, total_steps)
    factors = (1.0, settings.head_learning_rate_factor)

    def step(batch):
        images, labels = prepared(*batch)
        rate = next(rates)
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = factor * rate
        value = loss(network(images), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()

    return step


def _rates(settings: Settings, total_steps: int) -> Iterator[float]:
    rate = learning_rate_of(settings, total_steps)
    steps = range(total_steps)
    return iter(
        [rate] * total_steps if isinstance(rate, float) else [float(rate(i)) for i in steps]
    )


def validate(network: SmpNetwork, split: Split, batch_size: int, num_classes: int) -> dict:
    """Returns our scores of whole images, see `fcn_keras.evaluation.scores.scores_of`."""
    confusion = np.zeros((num_classes, num_classes), "int64")
    for batch in evaluation_batches(split, batch_size).as_numpy_iterator():
        images, labels = prepared(*batch)
        with torch.inference_mode():
            class_ids = network(images).argmax(1)
        confusion += confusion_matrix(labels.numpy(), class_ids.numpy(), num_classes)[0].numpy()
    return scores_of(confusion)


def prepared(images: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images and labels as the networks take them: turned, and of sides that they can have.

    Sides are filled up to multiples with what lies beyond the borders of training images; it is
    void.
    """
    missing = [-side % MULTIPLE for side in images.shape[1:3]]
    if any(missing):
        height, width = images.shape[1:3]
        larger = (len(images), height + missing[0], width + missing[1])
        filled = np.full((*larger, 3), PADDING_COLOR[:3], "uint8")
        void = np.full((*larger, 1), IGNORE_LABEL, "uint8")
        filled[:, :height, :width], void[:, :height, :width] = images, labels
        images, labels = filled, void
    return turned(images), turned(labels)[..., 0].long()


def _main():
    asked = json.load(sys.stdin)
    settings = resolve("light", **asked["settings"])
    try:
        with reading_errors():
            train(asked["method"], settings, asked["loss"], Path(asked["run_dir"]))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()
