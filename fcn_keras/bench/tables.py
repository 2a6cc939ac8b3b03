"""Tables in Markdown."""


def markdown(titles, lines: list[list[str]]) -> str:
    """Returns a table in Markdown; short lines are filled up."""
    lines = [list(titles), ["---"] * len(titles), *lines]
    return "\n".join(
        "| " + " | ".join([*line, *[""] * (len(titles) - len(line))]) + " |" for line in lines
    )


def cell(value, format):
    return "" if value is None else f"{value:{format}}"
