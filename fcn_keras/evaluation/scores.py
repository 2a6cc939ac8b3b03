"""The paper's four scores (section 5 of arXiv 1411.4038), from one confusion matrix."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.system.files import written_whole
from fcn_keras.system.spelling import shown_name

# Of a network on a data set; fractions of 1.
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")


def scores_of(confusion: Any) -> dict[str, Any]:
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
        "mean_accuracy": float(accuracy[occurs].mean()) if occurs.any() else math.nan,
        "mean_iu": float(iu[union > 0].mean()) if occurs.any() else math.nan,
        "frequency_weighted_iu": float((share * iu)[occurs].sum()) if occurs.any() else math.nan,
        "per_class_iu": iu,
    }


def named_scores(
    confusion: np.ndarray | Mapping[str, np.ndarray],
    classes: Sequence[str] | Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Computes the scores as they stand in `metrics.json`.

    Args:
        confusion: what `evaluate` returns.
        classes: the classes' names; with several heads a dictionary of them.

    Returns:
        A dict of the four scores, fractions of 1, `per_class_iu`, a dict of the classes' IU, and
        `confusion`, the matrix as lists. What is undefined is None. With several heads these are
        the first one's, and `heads` has such a dict for each.
    """
    if isinstance(classes, Mapping):
        heads = {head: named_scores(confusion[head], names) for head, names in classes.items()}
        return {**next(iter(heads.values())), "heads": heads}
    scores = scores_of(confusion)

    def number(value):
        return float(value) if math.isfinite(value) else None

    return {
        **{score: number(scores[score]) for score in SCORES},
        "per_class_iu": dict(zip(classes, map(number, scores["per_class_iu"]), strict=True)),
        "confusion": np.asarray(confusion).tolist(),
    }


def write_scores(scores: dict[str, Any], path: str | Path) -> None:
    """Writes what `named_scores` returned to a file: `metrics.json`."""
    with written_whole(path) as aside:
        aside.write_text(json.dumps(scores, indent=1) + "\n", "utf-8")


def score_table(scores: dict[str, Any]) -> str:
    """Returns what `named_scores` returned as lines for a reader."""
    # The longest names stick out: they would push the numbers of all others off the screen.
    width = min(40, max(len(name) for name in (*SCORES, *scores["per_class_iu"])))

    def line(name, value):
        return f"  {shown_name(name):{width}}  " + (
            "   absent" if value is None else f"{value:9.5f}"
        )

    lines = [
        *(line(name, scores[name]) for name in SCORES),
        "  IU of each class:",
        *(line(name, value) for name, value in scores["per_class_iu"].items()),
    ]
    return "\n".join(lines)
