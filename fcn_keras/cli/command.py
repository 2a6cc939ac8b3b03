"""What a command of the command line is, and the parser that it is put into."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

# Argument -> the options of `ArgumentParser.add_argument` for it.
Arguments = dict[str, dict[str, Any]]

_DEBUG: Arguments = {"--debug": dict(action="store_true", help="show tracebacks and all messages")}


class Parser(ArgumentParser):
    """A parser that answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


class Section(NamedTuple):
    """Arguments under a title of their own in the help text."""

    title: str
    arguments: Arguments
    text: str | None = None


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        text: what it does, in one line.
        run: does it; returns the exit code, or None for 0.
        arguments: what it takes.
        sections: what it takes beside these.
        stopped: what is printed after Ctrl-C.
        tensorflow: whether to import TensorFlow before it runs.
    """

    text: str
    run: Callable[[Namespace], int | None]
    arguments: Arguments
    sections: tuple[Section, ...] = ()
    stopped: str = "stopped"
    tensorflow: bool = True

    def fill(self, parser: ArgumentParser) -> None:
        """Adds the arguments to a parser, whose result tells the command as `command`."""
        parser.set_defaults(command=self)
        _add(parser, _DEBUG | self.arguments)
        for title, arguments, text in self.sections:
            _add(parser.add_argument_group(title, text), arguments)


@dataclass(frozen=True)
class Commands:
    """Commands under a common name.

    Attributes:
        text: what they do, in one line.
        commands: the commands by their names.
    """

    text: str
    commands: dict[str, Command]

    def fill(self, parser: ArgumentParser) -> None:
        """Adds the commands to a parser."""
        choices = add_choices(parser)
        for name, command in self.commands.items():
            command.fill(choices.add_parser(name, help=command.text, description=command.text))


def add_choices(parser: ArgumentParser) -> Any:
    """Has a parser take the name of a command first; returns what the commands are added to."""
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add(parser, arguments):
    for name, options in arguments.items():
        parser.add_argument(name, **options)
