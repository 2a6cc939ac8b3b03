"""What `mkdocs build` does beside MkDocs: pages from outside `docs/`, the help, docstrings."""

import io
import os
import posixpath
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from griffe import Extension
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

# Files of the repository -> where they are in the site. `docs/` is in it as it is.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "serving/README.md": "serving-with-docker.md",
}
PAGES |= {
    path.relative_to(ROOT).as_posix(): f"notebooks/{path.name}"
    for path in ROOT.glob("notebooks/*.ipynb")
}

LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?\)")
HELP = "<!-- help of every command -->"


def on_files(files, config):
    """Adds the pages that lie outside of `docs/`."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown, page, **_):
    """Has links lead to where files are in the site, and puts in the help."""
    homes = {page: path for path, page in PAGES.items()}
    here = page.file.src_uri
    home = homes.get(here, f"docs/{here}")

    def moved(link):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), link[2]))
        target = PAGES.get(path, path.removeprefix("docs/"))
        target = posixpath.relpath(target, posixpath.dirname(here) or ".")
        return f"{link[1]}{target}{link[3] or ''})"

    markdown = LINK.sub(moved, markdown)
    return markdown.replace(HELP, help_of_every_command()) if HELP in markdown else markdown


def help_of_every_command():
    """The help texts as Markdown, each under the name of its command."""
    from fcn_keras.cli.app import COMMANDS

    text = []
    for name in COMMANDS:
        text.append(f"## {name}\n\n```text\n{help_of(name)}```\n")
        for under in re.findall(r"^    (\w+) ", help_of(name).partition("\ncommands:")[2], re.M):
            text.append(f"### {name} {under}\n\n```text\n{help_of(name, under)}```\n")
    return "\n".join(text)


def help_of(*words):
    """What a command prints when it is asked for its help."""
    from fcn_keras.cli.app import parse

    printed = io.StringIO()
    with (
        patch.object(sys, "argv", ["fcn-keras"]),
        patch.dict(os.environ, COLUMNS="88"),
        redirect_stdout(printed),
    ):
        try:
            parse([*words, "--help"])
        except SystemExit:
            pass
    return printed.getvalue()


class Docstrings(Extension):
    """Brings docstrings to the form that Griffe reads, and Markdown."""

    def on_instance(self, *, obj, **_):
        if obj.docstring and not obj.is_alias:
            obj.docstring.value = as_google(obj.docstring.value)


def as_google(text):
    """A docstring with `Examples` as a section, and each name of `Args` on a line of its own.

    >>> as_google("Example:\\n\\n>>> 1 + 1")
    'Examples:\\n    >>> 1 + 1'
    """
    head, mark, example = text.partition("\nExample:\n\n")
    if text.startswith("Example:\n\n"):
        head, mark, example = "", "-", text.removeprefix("Example:\n\n")
    if mark:
        example, reference, rest = example.partition("\nReference:")
        indented = "".join(f"    {line}".rstrip() + "\n" for line in example.strip().split("\n"))
        text = f"{head}\nExamples:\n{indented}{reference}{rest}".removeprefix("\n")
    text = re.sub(r"^Args:\n(?: .*\n|\n)*", one_by_one, text + "\n", flags=re.MULTILINE)
    # Markdown wants an empty line before a list.
    return re.sub(r"^((?! *- ).*:)\n(?= *- )", r"\1\n\n", text, flags=re.MULTILINE).rstrip()


def one_by_one(arguments):
    """Has `height, width: the size` document two arguments."""
    return re.sub(
        r"^( {4})(\w+(?:, \w+)+)(: .*(?:\n {8,}.*)*)",
        lambda entry: "\n".join(f"{entry[1]}{name}{entry[3]}" for name in entry[2].split(", ")),
        arguments[0],
        flags=re.MULTILINE,
    )
