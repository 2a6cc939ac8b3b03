"""Documents in which tables of measurements stand between two marks each."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from fcn_keras.errors import UserError
from fcn_keras.system.files import written_whole


def read_document(path: Path, title: str, parts: Iterable[str]) -> str:
    """Returns a document with places for all tables.

    Args:
        path: the document; a new one is made of its places alone.
        title: of a new document.
        parts: names of the tables, each of which belongs between `<!-- bench NAME -->` and
            `<!-- end -->`.

    Raises:
        UserError: if its name does not end in `.md`, or it has no place for a table.
    """
    if path.suffix != ".md":
        raise UserError(f"{path}: must end in .md, the document to write.")
    if not path.exists():
        return f"# {title}\n\n" + "".join(
            f"<!-- bench {name} -->\n<!-- end -->\n\n" for name in parts
        )
    text = path.read_text("utf-8")
    for name in parts:
        if not re.search(_pattern(name), text, re.DOTALL):
            raise UserError(f"{path}: has no lines <!-- bench {name} --> and <!-- end -->.")
    return text


def write_document(path: Path, text: str, tables: Mapping[str, str]) -> None:
    """Writes a document, with the tables in their places.

    Args:
        path: the document.
        text: what `read_document` returned.
        tables: by name, in Markdown.
    """
    for name, table in tables.items():
        lines = f"<!-- bench {name} -->\n{table}\n<!-- end -->"
        text = re.sub(_pattern(name), lines.replace("\\", r"\\"), text, flags=re.DOTALL)
    with written_whole(path) as aside:
        aside.write_text(text, "utf-8")


def _pattern(name):
    return f"<!-- bench {name} -->.*?<!-- end -->"
