"""Types of arguments, and arguments that several commands take."""

from argparse import ArgumentTypeError
from collections.abc import Collection

from fcn_keras.cli.command import Arguments
from fcn_keras.errors import UserError


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"must be a number from 1 up. Received: {text!r}")
    return int(text)


def port_number(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"must be a number up to 65535. Received: {text!r}")
    return int(text)


def figure_file(text: str) -> str:
    if not text.lower().endswith((".png", ".pdf", ".svg")):
        raise ArgumentTypeError(f"must end in .png, .pdf or .svg. Received: {text!r}")
    return text


def numbers_of(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ArgumentTypeError(
            f"must be numbers with commas between them. Received: {text!r}"
        ) from None


def whole_numbers(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(number.isdigit() for number in numbers):
        raise ArgumentTypeError(
            f"must be whole numbers with commas between them. Received: {text!r}"
        )
    return tuple(map(int, numbers))


def names_of(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def crop_size(text: str) -> tuple[int, int] | None:
    if text == "none":
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise ArgumentTypeError(f"must be like 256, 256x320 or none. Received: {text!r}")
    return int(sides[0]), int(sides[-1])


def image_size(text: str) -> tuple[int, int]:
    sides = None if text == "none" else crop_size(text)
    if not sides or 0 in sides:
        raise ArgumentTypeError(f"must be like 256 or 256x320. Received: {text!r}")
    return sides


MODEL: Arguments = {
    "model": dict(metavar="RUN_OR_MODEL", help="run directory, .keras file or hf://USER/NAME")
}

JSON: Arguments = {"--json": dict(action="store_true", help="print one JSON object")}


def check_split(split: str, splits: Collection[str]) -> None:
    """Raises a `UserError` if a data set that has these splits has no such one."""
    if split not in splits:
        raise UserError(f"--split: must be one of {', '.join(splits)}. Received: {split!r}.")
