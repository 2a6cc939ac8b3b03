"""Arguments as plain numbers, which saved networks, losses and metrics can keep."""

import operator
from typing import Any

from fcn_keras.errors import UserError


def whole_number(name: str, value: Any) -> int:
    """Returns an integer of NumPy, of a backend or of Python as one of Python.

    Args:
        name: of the argument.
        value: what came.

    Raises:
        UserError: if it is no integer.

    Example:

    >>> whole_number("num_classes", np.int64(21))
    21
    """
    try:
        return operator.index(value)
    except TypeError:
        raise UserError(f"`{name}` must be a whole number. Received: {value!r}.") from None
