"""What a command of the command line is, and the parser that it is put into."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

# Argument -> the options of `ArgumentParser.add_argument` for it.
Arguments = dict[str, dict[str, Any]]

_DEBUG: Arguments = {"--debug": dict(action="store_true", help="show tracebacks and all messages")}


class Parser(ArgumentParser):
    """A parser that answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            name = message.split()[1].rstrip(":").split("/")[-1]
            message += f"; write {name}=VALUE where it begins with a dash"
        words = message.removeprefix("unrecognized arguments: ").split(" ")
        if words[0].startswith("-") and os.path.exists(words[0]):
            message += f"; write ./{words[0]} for the file of that name"
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


class Section(NamedTuple):
    """Arguments under a title of their own in the help text."""

    title: str
    text: str | None
    arguments: Arguments


class Command(NamedTuple):
    """A command.

    Attributes:
        run: does it, given the values of its arguments; returns the exit code, or None for 0.
        arguments: its arguments.
        section: further ones, under a title.
        stopped: what is printed after Ctrl-C.
        tensorflow: whether to import TensorFlow before it runs.
        keeps_memory: whether to keep memory that is freed, see
            `fcn_keras.system.memory.keep_freed_memory`.
    """

    run: Callable[[Namespace], int | None]
    arguments: Arguments
    section: Section | None = None
    stopped: str = "stopped"
    tensorflow: bool = True
    keeps_memory: bool = False

    def fill(self, parser: ArgumentParser) -> None:
        """Adds the arguments to a parser, whose result tells the command as `command`."""
        parser.set_defaults(command=self)
        _add(parser, _DEBUG | self.arguments)
        if self.section:
            title, text, arguments = self.section
            _add(parser.add_argument_group(title, text), arguments)


class Commands(NamedTuple):
    """Commands under a common name: for each, what it does in one line, and the command."""

    commands: dict[str, tuple[str, Command]]

    def fill(self, parser: ArgumentParser) -> None:
        """Adds the commands to a parser."""
        parsers = add_names(parser, {name: text for name, (text, _) in self.commands.items()})
        for name, (_, command) in self.commands.items():
            command.fill(parsers[name])


def add_names(parser: ArgumentParser, texts: Mapping[str, str]) -> dict[str, ArgumentParser]:
    """Has a parser take the name of a command first.

    Args:
        parser: the parser.
        texts: for each command what it does, in one line.

    Returns:
        For each command the parser of what follows its name.
    """
    names = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    return {
        name: names.add_parser(name, help=text, description=text) for name, text in texts.items()
    }


def _add(parser, arguments):
    for name, options in arguments.items():
        parser.add_argument(name, **options)
