"""What a run ends with: the scores of its best network, and figures."""

import math
from collections.abc import Callable

import keras
import numpy as np

from fcn_keras.data.dataset import Dataset, Split
from fcn_keras.evaluation.evaluate import evaluate
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.evaluation.scores import named_scores, score_table, scores_of, write_scores
from fcn_keras.figures.class_bars import per_class_iu_figure
from fcn_keras.figures.confusion import confusion_figure
from fcn_keras.figures.curves import curves_figure
from fcn_keras.figures.samples import Sample, samples_figure
from fcn_keras.figures.style import save_figure
from fcn_keras.inference.c_library.graph_writer import keep_graph
from fcn_keras.inference.keras_segmenter import make_segmenter
from fcn_keras.inference.network import load_network
from fcn_keras.inference.run_folder import network_file
from fcn_keras.training.run import Run

SAMPLES = 6  # pictures in report/samples.png

EXTREMES = 4  # pictures in report/best.png and report/worst.png

RANKED = 200  # images among which these are looked for


def write_report(run: Run, dataset: Dataset, val_split: Split, batch_size: int) -> None:
    """Scores `best.keras` as anyone would who opens it, and draws the figures."""
    network = load_network(run.path)
    confusion = evaluate(network.full, val_split, batch_size, heads=network.heads)
    scores = named_scores(confusion, dataset.heads or network.classes)
    segment = make_segmenter(network.model)

    def samples(indices):
        chosen = [
            labelled_sample(segment, val_split, index, len(network.classes)) for index in indices
        ]
        return samples_figure(chosen, network.classes, network.colors)

    ranked = _ranked(segment, val_split, len(network.classes))
    figures = {
        "curves": curves_figure(run.rows()),
        "per_class_iu": per_class_iu_figure(
            scores["per_class_iu"], network.colors, scores["mean_iu"]
        ),
        "confusion": confusion_figure(np.asarray(scores["confusion"]), network.classes),
        "samples": samples(spread_over(len(val_split), SAMPLES)),
        "best": samples(ranked[:EXTREMES]),
        "worst": samples(ranked[::-1][:EXTREMES]),
    }
    for name, figure in figures.items():
        save_figure(figure, run.path / "report" / f"{name}.png")
    write_scores(scores, run.path / "metrics.json")
    print(f"scores of best.keras on {dataset.name}'s validation split:")
    print(score_table(scores), flush=True)
    keep_graph(network.full, network_file(run.path))  # `predict` will start with it


def spread_over(length: int, count: int) -> list[int]:
    """Returns the numbers of some images, evenly spread over a split."""
    return np.unique(np.linspace(0, length - 1, count).astype(int)).tolist()


def _ranked(segment, split, num_classes):
    """The numbers of images, of a large split some, from the best predicted to the worst."""
    scores = {
        index: labelled_sample(segment, split, index, num_classes).mean_iu
        for index in spread_over(len(split), RANKED)
    }
    known = [index for index, score in scores.items() if math.isfinite(score)]
    return sorted(known, key=scores.get, reverse=True)


def labelled_sample(segment: Callable, split: Split, index: int, num_classes: int) -> Sample:
    """Returns an image with its label map, the predicted one, its name and its mean IU."""
    image, label, name = split[index]
    class_ids = segment(image[None])[0].numpy()
    counts, _ = confusion_matrix(label[:, :, 0], class_ids, num_classes)
    mean_iu = scores_of(keras.ops.convert_to_numpy(counts))["mean_iu"]
    return Sample(image[..., :3], label[:, :, 0], class_ids, name, mean_iu)
