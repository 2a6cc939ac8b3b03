"""What a training works on."""

from dataclasses import dataclass

import tensorflow as tf

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.batches import images_of_batch, sharded, training_batches
from fcn_keras.data.dataset import Dataset, Split
from fcn_keras.system.devices import is_chief
from fcn_keras.training.run import Run
from fcn_keras.training.settings import Settings
from fcn_keras.training.task import SegmentationTask


@dataclass(frozen=True)
class TrainingJob:
    """What a training works on.

    Attributes:
        run: the directory that it is written to.
        settings: what is trained, and how.
        dataset: what it is trained for.
        train_split, val_split: the images to train on, and those to score on.
        strategy: how the training is spread over devices and machines.
        task: the network with its loss and its update rule.
        epochs, steps: how many epochs there are, and of how many steps each.
        backup_steps: steps from one backup to the next within an epoch; 0 for none there, None
            to go by time.
    """

    run: Run
    settings: Settings
    dataset: Dataset
    train_split: Split
    val_split: Split
    strategy: tf.distribute.Strategy
    task: SegmentationTask
    epochs: int
    steps: int
    backup_steps: int | None

    @property
    def chief(self) -> bool:
        """Whether this machine is the one that writes."""
        return is_chief(self.strategy)

    def batches(self, step: int):
        """Returns the endless stream of training batches from a step on, in parts for replicas."""
        settings = self.settings
        augmentation = Augmentation(
            settings.crop_size,
            settings.flip,
            (settings.scale_min, settings.scale_max),
            settings.color,
        )

        def make(shards):
            return training_batches(
                self.train_split,
                augmentation,
                settings.images_per_step,
                seed=settings.seed,
                first_step=step,
                replacement=settings.replacement,
                shards=shards,
            )

        return sharded(self.strategy, make, self.task.micro_batch or 1)

    def names(self, step: int) -> list[str]:
        """Returns the names of the images that a step is trained on."""
        settings = self.settings
        return images_of_batch(
            self.train_split, settings.images_per_step, settings.seed, step, settings.replacement
        )
