"""What tells that a run goes wrong in one of the usual ways, and what to try then."""

from collections.abc import Sequence

import numpy as np

# A loss has not fallen where it is above this share of the first epoch's ...
FALLEN = 0.98
# ... after as many steps, and epochs, as would show it.
STEPS, EPOCHS = 200, 3

OVERFITTING = 0.02  # by which the mean IU has fallen in validation, and risen in training
VALIDATIONS = 3  # in a row


class Symptoms:
    """Looks at each epoch of a run, and tells each symptom once.

    Args:
        classes: the classes' names.
        steps: how many steps an epoch has.
        rows: of `log.csv`, of epochs before this process, which has told what they show.
    """

    def __init__(self, classes: Sequence[str], steps: int, rows: Sequence[dict] = ()):
        self.classes, self.steps = classes, steps
        self.rows: list[dict] = []
        self.told: set[str] = set()
        self.alone: list[int | None] = []  # the one class that a validation found, if it was one
        for row in rows:
            self.of(row)

    def of(self, row: dict, confusion: np.ndarray | None = None) -> list[str]:
        """Notes an epoch, and returns what is to be said of it.

        Args:
            row: what `log.csv` says of it.
            confusion: of its validation, integers `(C, C)`, rows = truth; None if there was none.
        """
        self.rows.append(row)
        found = {"loss": self._loss_stands_still()}
        if row.get("mean_iu") is not None:
            found["over-fitting"] = self._over_fits()
        if confusion is not None:
            self.alone.append(_only_class(np.asarray(confusion)))
            found["one class"] = self._one_class()
        texts = [text for name, text in found.items() if text and name not in self.told]
        self.told |= {name for name, text in found.items() if text}
        return texts

    def _loss_stands_still(self):
        epochs = len(self.rows)
        if epochs < EPOCHS or epochs * self.steps < STEPS:
            return ""
        first, *later = (row["loss"] for row in self.rows)
        if min(later) <= FALLEN * first:
            return ""
        return (
            f"the loss has not fallen in {epochs} epochs ({first:.4g}, now {later[-1]:.4g}): try "
            "another --learning-rate, ten times lower and ten times higher; look at what is "
            "trained on by `data show --augmented`"
        )

    def _one_class(self):
        last = self.alone[-2:]
        if len(last) < 2 or last[0] is None or last[0] != last[1]:
            return ""
        return (
            f"in two validations all pixels were taken for {self.classes[last[0]]!r}: try a lower "
            "--learning-rate, or a loss in which classes count alike, --loss cross_entropy+dice"
        )

    def _over_fits(self):
        validated = [row for row in self.rows if row.get("mean_iu") is not None]
        best = max(range(len(validated)), key=lambda k: validated[k]["mean_iu"])
        then, now = validated[best], validated[-1]
        lost = then["mean_iu"] - now["mean_iu"]
        gained = now["train_mean_iu"] - then["train_mean_iu"]
        if len(validated) - 1 - best < VALIDATIONS or min(lost, gained) < OVERFITTING:
            return ""
        return (
            f"mean IU falls in validation ({then['mean_iu']:.3f} in epoch {then['epoch']}, now "
            f"{now['mean_iu']:.3f}) while it rises in training: best.keras keeps the best. Try "
            "fewer --epochs (--patience 3), stronger variation (--scale-min, --color, --rotation), "
            "--freeze, or more images"
        )


def _only_class(confusion):
    """The class that nearly all pixels were taken for, though there are others; else None."""
    truth, predicted = confusion.sum(1), confusion.sum(0)
    common = int(predicted.argmax())
    if predicted[common] < 0.999 * predicted.sum() or truth[common] > 0.99 * truth.sum():
        return None
    return common
