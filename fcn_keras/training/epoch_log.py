"""What a run keeps of each epoch: its best network, `log.csv`, TensorBoard's events."""

import sys
from collections.abc import Sequence

import tensorflow as tf
from tqdm import tqdm

from fcn_keras.data.palette import palette_for
from fcn_keras.figures.label_maps import overlay
from fcn_keras.figures.pictures import as_picture
from fcn_keras.inference.keras_segmenter import make_segmenter
from fcn_keras.models.head import first_head
from fcn_keras.system.files import writing, written_whole
from fcn_keras.system.plain_path import plain_path
from fcn_keras.system.spelling import valid_text
from fcn_keras.training.backup import TrainingJob
from fcn_keras.training.report import labelled_sample, spread_over

WATCHED = 3  # pictures among TensorBoard's


class EpochLog:
    """Keeps the best network, `log.csv` and TensorBoard's events of a run, epoch by epoch.

    Args:
        job: what is trained.
        rows: of `log.csv`, of epochs before this process.
    """

    def __init__(self, job: TrainingJob, rows: Sequence[dict]):
        self.job = job
        self.rows = list(rows)
        self.events = tf.summary.create_file_writer(plain_path(job.run.path))
        network = first_head(job.task.network, job.task.heads)
        self.segment = make_segmenter(network, fixed=False)

    def keep(self, row: dict) -> None:
        """Keeps an epoch, in place of what has been kept of it.

        Args:
            row: what `log.csv` is to say of it.
        """
        run, scored = self.job.run, "mean_iu" in row
        self.rows = [other for other in self.rows if other["epoch"] < row["epoch"]]
        earlier = [r["mean_iu"] for r in self.rows if r.get("mean_iu") is not None]
        if scored and row["mean_iu"] > max(earlier, default=-1.0):
            with written_whole(run.path / "best.keras") as aside:
                self.job.task.network.save(aside)
        self.rows.append(row)
        run.write_rows(self.rows)
        pictures = self._pictures() if scored else {}
        with writing(run.path), self.events.as_default(row["epoch"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            for name, picture in pictures.items():
                tf.summary.image(name, picture[None])
            self.events.flush()
        tqdm.write(_summary(row, self.job.epochs), file=sys.stdout)
        sys.stdout.flush()

    def _pictures(self):
        """Some images of the validation with what the network takes their pixels for, by name."""
        dataset, split = self.job.dataset, self.job.val_split
        samples = [
            labelled_sample(self.segment, split, dataset.num_classes, index)
            for index in spread_over(len(split), WATCHED)
        ]
        palette = palette_for(dataset.colors)
        return {
            f"validation/{valid_text(sample.name)}": overlay(
                as_picture(sample.image), sample.class_ids, palette
            )
            for sample in samples
        }


def _summary(row, epochs):
    text = f"epoch {row['epoch']:{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}"
    if "mean_iu" in row:
        text += (
            f"  val loss {row['val_loss']:.4f}  val mean IU {row['mean_iu']:.4f}"
            f"  pixel accuracy {row['pixel_accuracy']:.4f}"
        )
    return text + f"  {row['images_per_second']:.1f} images/s"
