"""The paper's four scores (section 5 of arXiv 1411.4038), from one confusion matrix."""

import json
import math
from pathlib import Path

import numpy as np

from fcn_keras.system.files import written_whole

# Of a network on a data set; fractions of 1.
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")


def scores_of(confusion) -> dict:
    """Computes the four scores and the IU of each class.

    A class that occurs neither in the truth nor in the prediction is left out of the means,
    and so is a class without truth from the mean accuracy.

    Args:
        confusion: integers `(C, C)`; entry `[i, j]` counts the pixels of class `i` that were
            taken for class `j`.

    Returns:
        A dict of the four scores, fractions of 1 (NaN if no pixel was counted), and
        `per_class_iu`, a float64 array `(C,)` with NaN for classes that do not occur.

    Example:

    >>> scores_of([[3, 1], [0, 4]])["mean_iu"]
    0.775
    """
    confusion = np.asarray(confusion, "float64")
    right, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    union = truth + predicted - right
    with np.errstate(invalid="ignore"):
        iu = right / union
        accuracy = right / truth
        share = truth / truth.sum()
        pixel_accuracy = right.sum() / truth.sum()
    occurs = truth > 0
    return {
        "pixel_accuracy": float(pixel_accuracy),
        "mean_accuracy": float(accuracy[occurs].mean()) if occurs.any() else float("nan"),
        "mean_iu": float(iu[union > 0].mean()) if occurs.any() else float("nan"),
        "frequency_weighted_iu": float((share * iu)[occurs].sum()) if occurs.any() else np.nan,
        "per_class_iu": iu,
    }


def as_json(confusion, classes) -> dict:
    """Returns scores as they stand in `metrics.json`: fractions of 1, null where undefined.

    Args:
        confusion: what `evaluate` returns.
        classes: names of the classes; with several heads a dictionary of them. The scores of
            the first head come first, as those of a network that has no other would; those of
            all are under `heads`.
    """
    if isinstance(confusion, dict):
        heads = {name: as_json(confusion[name], classes[name]) for name in classes}
        return {**next(iter(heads.values())), "heads": heads}
    scores = scores_of(confusion)

    def number(value):
        return float(value) if math.isfinite(value) else None

    return {
        **{name: number(scores[name]) for name in SCORES},
        "per_class_iu": dict(zip(classes, map(number, scores["per_class_iu"]), strict=True)),
        "confusion": confusion.tolist(),
    }


def write_scores(scores: dict, path: str | Path):
    """Writes `metrics.json`."""
    with written_whole(path) as aside:
        aside.write_text(json.dumps(scores, indent=1) + "\n")


def score_table(scores: dict) -> str:
    """Returns the scores as lines for a reader."""
    width = max(len(name) for name in (*SCORES, *scores["per_class_iu"]))

    def line(name, value):
        return f"  {name:{width}}  " + ("   absent" if value is None else f"{value:9.5f}")

    lines = [line(name, scores[name]) for name in SCORES]
    lines += ["  IU of each class:"]
    lines += [line(name, value) for name, value in scores["per_class_iu"].items()]
    return "\n".join(lines)
