"""Tables and their cells."""

from collections.abc import Sequence


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown; short lines are filled up."""
    lines = [titles, ["---"] * len(titles), *lines]
    return "\n".join(
        "| " + " | ".join([*line, *[""] * (len(titles) - len(line))]) + " |" for line in lines
    )


def cell(value: float | None, format: str, unit: str = "") -> str:
    """Returns a number as text, with its unit behind it; nothing for None."""
    return "" if value is None else f"{value:{format}}{unit}"
