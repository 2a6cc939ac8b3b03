"""The paper's four scores (section 5 of arXiv 1411.4038) and others, from one confusion matrix."""

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

# Of each class, as scikit-learn calls them; `f1` is Dice's coefficient. Their means end in
# `_macro`.
OF_CLASSES = ("precision", "recall", "f1")
SHOWN = {"iu": "IU", "f1": "F1 (Dice)"}  # what is shown under another name
MACRO = tuple(f"{name}_macro" for name in OF_CLASSES)


def scores_of(confusion: Any) -> dict[str, Any]:
    """Computes the four scores, the IU of each class, and what else people ask for.

    A class that occurs neither in the truth nor in the prediction is left out of the means,
    and so is a class without truth from the mean accuracy.

    Args:
        confusion: integers `(C, C)`; entry `[i, j]` counts the pixels of class `i` that were
            taken for class `j`.

    Returns:
        A dict of the four scores, fractions of 1 (NaN if no pixel was counted); `per_class_iu`, a
        float64 array `(C,)` with NaN for classes that do not occur; and so `per_class_precision`,
        `per_class_recall` and `per_class_f1` with their means over the classes that occur,
        `precision_macro`, `recall_macro` and `f1_macro`. As in scikit-learn, a class that is only
        in the truth has a precision of 0, and one that is only predicted a recall of 0. (The
        paper's mean accuracy leaves the latter out.)

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
        f1 = 2 * right / (truth + predicted)
    occurs = truth > 0
    either = union > 0
    of_classes = {
        "precision": np.where(either, right / np.maximum(predicted, 1), math.nan),
        "recall": np.where(either, right / np.maximum(truth, 1), math.nan),
        "f1": f1,
    }
    return {
        "pixel_accuracy": float(pixel_accuracy),
        "mean_accuracy": float(accuracy[occurs].mean()) if occurs.any() else math.nan,
        "mean_iu": float(iu[either].mean()) if occurs.any() else math.nan,
        "frequency_weighted_iu": float((share * iu)[occurs].sum()) if occurs.any() else math.nan,
        "per_class_iu": iu,
        **{
            f"{name}_macro": float(values[either].mean()) if occurs.any() else math.nan
            for name, values in of_classes.items()
        },
        **{f"per_class_{name}": values for name, values in of_classes.items()},
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
        A dict of the four scores, fractions of 1, `per_class_iu`, a dict of the classes' IU, the
        other scores of `scores_of` likewise, and `confusion`, the matrix as lists. What is
        undefined is None. With several heads these are the first one's, and `heads` has such a dict
        for each.
    """
    if isinstance(classes, Mapping):
        heads = {head: named_scores(confusion[head], names) for head, names in classes.items()}
        return {**next(iter(heads.values())), "heads": heads}
    scores = scores_of(confusion)

    def number(value):
        return float(value) if math.isfinite(value) else None

    return {
        **{score: number(scores[score]) for score in (*SCORES, *MACRO)},
        **{
            f"per_class_{name}": dict(
                zip(classes, map(number, scores[f"per_class_{name}"]), strict=True)
            )
            for name in ("iu", *OF_CLASSES)
        },
        "confusion": np.asarray(confusion).tolist(),
    }


def write_scores(scores: dict[str, Any], path: str | Path) -> None:
    """Writes what `named_scores` returned to a file: `metrics.json`."""
    with written_whole(path) as aside:
        aside.write_text(json.dumps(scores, indent=1) + "\n", "utf-8")


def score_table(scores: dict[str, Any]) -> str:
    """Returns what `named_scores` returned as lines for a reader."""
    # Of a run that an older version finished there is the IU alone.
    columns = [name for name in ("iu", *OF_CLASSES) if f"per_class_{name}" in scores]
    # The longest names stick out: they would push the numbers of all others off the screen.
    width = min(40, max(len(name) for name in (*SCORES, *scores["per_class_iu"])))

    def line(name, *values):
        numbers = ("   absent" if value is None else f"{value:9.5f}" for value in values)
        return f"  {shown_name(name):{width}}  " + "  ".join(numbers)

    lines = [
        *(line(name, scores[name]) for name in (*SCORES, *MACRO) if name in scores),
        f"  {'of each class:':{width}}  "
        + "  ".join(f"{SHOWN.get(name, name):>9}" for name in columns),
        *(
            line(name, *(scores[f"per_class_{column}"][name] for column in columns))
            for name in scores["per_class_iu"]
        ),
    ]
    return "\n".join(lines)
