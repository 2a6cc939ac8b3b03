"""Training that ends early, where it has stopped to help."""

from collections.abc import Sequence


class Patience:
    """Tells when validations in a row have not found a better network.

    Args:
        validations: how many; 0 for as many as there are.
        rows: of `log.csv`, of epochs before this process.
    """

    def __init__(self, validations: int, rows: Sequence[dict] = ()):
        self.validations = validations
        self.scores = [row["mean_iu"] for row in rows if row.get("mean_iu") is not None]

    def note(self, mean_iu: float) -> None:
        """Notes a validation's mean IU."""
        self.scores.append(mean_iu)

    @property
    def is_over(self) -> bool:
        """Whether the last `validations` have all been no better than one before them."""
        since = len(self.scores) - 1 - self.scores.index(max(self.scores)) if self.scores else 0
        return 0 < self.validations <= since

    def __str__(self) -> str:
        return (
            f"training ends early: {self.validations} validations in a row have not been better "
            f"than a mean IU of {max(self.scores):.4f} (--patience {self.validations})"
        )
