"""What a run ends with: the scores of its best network, and figures."""

import math

import keras
import numpy as np

from fcn_keras.evaluation.evaluate import evaluate
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.evaluation.scores import as_json, score_table, scores_of, write_scores
from fcn_keras.figures.class_bars import plot_per_class_iu
from fcn_keras.figures.confusion import plot_confusion
from fcn_keras.figures.curves import plot_curves
from fcn_keras.figures.samples import plot_samples
from fcn_keras.inference.c_library.graph_writer import keep_graph
from fcn_keras.inference.network import load_network
from fcn_keras.inference.run_folder import network_file
from fcn_keras.inference.segmenter import make_segmenter

SAMPLES = 6  # pictures in report/samples.png

EXTREMES = 4  # pictures in report/best.png and report/worst.png

RANKED = 200  # images among which these are looked for


def write_report(run, dataset, val_split, batch_size):
    """Scores `best.keras` as anyone would who opens it, and draws the figures."""
    network = load_network(run.path)
    confusion = evaluate(network.full, val_split, batch_size, heads=network.heads)
    scores = as_json(confusion, dataset.heads or network.classes)
    confusion = np.asarray(scores["confusion"])
    folder = run / "report"
    plot_curves(run.rows(), folder / "curves.png")
    plot_per_class_iu(
        scores["per_class_iu"], network.colors, scores["mean_iu"], folder / "per_class_iu.png"
    )
    plot_confusion(confusion, network.classes, folder / "confusion.png")
    segment = make_segmenter(network.model)
    ranked = _ranked(segment, val_split, len(network.classes))
    shown = {
        "samples": spread_over(len(val_split), SAMPLES),
        "best": ranked[:EXTREMES],
        "worst": ranked[::-1][:EXTREMES],
    }
    for name, indices in shown.items():
        samples = [
            labelled_sample(segment, val_split, index, len(network.classes)) for index in indices
        ]
        plot_samples(samples, network.classes, network.colors, folder / f"{name}.png")
    write_scores(scores, run / "metrics.json")
    print(f"scores of best.keras on {dataset.name}'s validation split:")
    print(score_table(scores), flush=True)
    keep_graph(network.full, network_file(run.path))  # `predict` will start with it


def spread_over(length, count):
    """Numbers of images all over a split."""
    return np.unique(np.linspace(0, length - 1, count).astype(int)).tolist()


def _ranked(segment, split, num_classes):
    """Numbers of images from the best predicted to the worst, of a large split some."""
    scores = {
        index: labelled_sample(segment, split, index, num_classes)[-1]
        for index in spread_over(len(split), RANKED)
    }
    known = [index for index, score in scores.items() if math.isfinite(score)]
    return sorted(known, key=scores.get, reverse=True)


def labelled_sample(segment, split, index, num_classes):
    """An image with its label map, the predicted one, its name and its mean IU."""
    image, label, name = split[index]
    class_ids = segment(image[None])[0].numpy()
    counts, _ = confusion_matrix(label[:, :, 0], class_ids, num_classes)
    mean_iu = scores_of(keras.ops.convert_to_numpy(counts))["mean_iu"]
    return image[..., :3], label[:, :, 0], class_ids, name, mean_iu
