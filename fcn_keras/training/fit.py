"""The epochs of a run: batches, scores, files, stops."""

import contextlib
import json
import zlib

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.batches import (
    distributed_batches,
    images_of_batch,
    sharded,
    training_batches,
)
from fcn_keras.data.palette import palette_for
from fcn_keras.errors import UserError
from fcn_keras.figures.label_maps import overlay
from fcn_keras.inference.segmenter import make_segmenter
from fcn_keras.system.devices import all_have, is_alone, is_chief
from fcn_keras.training.backup import Backup
from fcn_keras.training.callbacks import Recorder, Stop, TrainingBar
from fcn_keras.training.report import labelled_sample, spread_over

WATCHED = 3  # pictures among TensorBoard's


def fit_epochs(run, settings, dataset, splits, task, plan, micro_batch):
    train_split, val_split = splits
    strategy = task.distribute_strategy
    chief = is_chief(strategy)
    backup = Backup(run / "backup", task, chief)
    position = backup.restore()
    epoch, step = position.epoch, position.step
    what = json.dumps(settings.as_json(), sort_keys=True).encode()
    if not all_have(strategy, (epoch, step, backup.saves, zlib.crc32(what))):
        raise UserError(
            f"{run.path}: all machines must see the same run directory there, and be given the "
            "same settings. They are not, or do not."
        )
    if chief and (epoch or step):
        print(f"going on after epoch {epoch} of {plan.epochs}, step {step} of {plan.steps}")
    augmentation = Augmentation(
        settings.crop_size,
        settings.flip,
        (settings.scale_min, settings.scale_max),
        settings.color,
    )
    order = dict(seed=settings.seed, replacement=settings.replacement)

    def batches(epoch, step=0):
        def make(shards):
            return training_batches(
                train_split,
                augmentation,
                plan.images,
                first_step=epoch * plan.steps + step,
                shards=shards,
                **order,
            )

        return sharded(strategy, make, micro_batch)

    def names(step):
        return images_of_batch(train_split, plan.images, step=step, **order)

    def pictures():
        for index in spread_over(len(val_split), WATCHED):
            image, _, class_ids, name, _ = labelled_sample(
                segment, val_split, index, dataset.num_classes
            )
            yield f"validation/{name}", overlay(image, class_ids, palette)

    segment, palette = make_segmenter(task.first_head()), palette_for(dataset.colors)
    validation = distributed_batches(val_split, settings.batch_size, strategy)
    progress = TrainingBar(plan, position, shown=chief)
    # A machine that stops on its own would leave the others waiting.
    stopping = Stop() if is_alone(strategy) else contextlib.nullcontext()
    with contextlib.closing(progress.bar), stopping as stop:
        recorder = Recorder(
            run if chief else None,
            plan,
            backup,
            position,
            validation,
            progress,
            stop,
            names,
            pictures,
        )

        def fit(epoch, epochs, steps, step=0):
            task.fit(
                batches(epoch, step),
                steps_per_epoch=steps,
                epochs=epochs,
                initial_epoch=epoch,
                callbacks=[progress, recorder],
                shuffle=False,
                verbose=0,
            )

        if step == plan.steps:  # stopped while it was validating
            backup.restore_metrics()
            recorder.set_model(task)
            recorder.finish_epoch(task.get_metrics_result())
            epoch += 1
        elif step:
            fit(epoch, epoch + 1, plan.steps - step, step)
            epoch += 1
        fit(epoch, plan.epochs, plan.steps)
        if stop and stop.requested:  # too late for anything but what follows
            raise KeyboardInterrupt
