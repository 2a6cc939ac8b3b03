"""What a run ends with: the scores of its best network, and figures."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from fcn_keras.data.dataset import Dataset, Split
from fcn_keras.evaluation.evaluate import evaluate
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.evaluation.scores import (
    OF_CLASSES,
    SHOWN,
    named_scores,
    score_table,
    scores_of,
    write_scores,
)
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
    sample = partial(
        labelled_sample, make_segmenter(network.model), val_split, len(network.classes)
    )

    def samples(indices):
        return samples_figure([sample(index) for index in indices], network.classes, network.colors)

    # Of a large split some images, from the best predicted to the worst.
    mean_ius: dict = {index: sample(index).mean_iu for index in spread_over(len(val_split), RANKED)}
    known = [index for index, mean_iu in mean_ius.items() if math.isfinite(mean_iu)]
    ranked = sorted(known, key=mean_ius.__getitem__, reverse=True)
    figures = {
        "curves": curves_figure(run.rows()),
        "per_class_iu": per_class_iu_figure(
            scores["per_class_iu"],
            network.colors,
            scores["mean_iu"],
            {SHOWN.get(name, name): scores[f"per_class_{name}"] for name in OF_CLASSES},
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


def labelled_sample(segment: Callable, split: Split, num_classes: int, index: int) -> Sample:
    """Returns an image with its label map, the predicted one, its name and its mean IU."""
    image, label, name = split[index]
    class_ids = segment(image[None])[0].numpy()
    counts, _ = confusion_matrix(label[:, :, 0], class_ids, num_classes)
    mean_iu = scores_of(counts.numpy())["mean_iu"]
    return Sample(image, label[:, :, 0], class_ids, name, mean_iu)
