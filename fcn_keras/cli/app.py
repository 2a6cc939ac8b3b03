"""The command line: finds the command that was asked for, runs it, and answers what goes wrong."""

import gc
import os
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module

from fcn_keras.cli.command import Command, Commands, Parser, add_choices
from fcn_keras.errors import MachineLost, ServerError, UserError, WriteError
from fcn_keras.system.console import quiet

# In the order of the help text. Each is a file beside this one with its `COMMAND`.
COMMANDS = ("train", "evaluate", "predict", "export", "demo", "serve", "convert", "data", "bench")


def main(name: str | None = None) -> int:
    """Runs the command that the process was called with.

    Args:
        name: the command, for a program that has only this one.

    Returns:
        The exit code: 0 done, 2 the caller's mistake, 1 a fault of this package, 130 stopped
        by Ctrl-C.
    """
    args = parse(sys.argv[1:], name)
    try:
        with quiet(args.debug, args.command.tensorflow):
            return args.command.run(args) or 0
    except KeyboardInterrupt:
        message, code = args.command.stopped, 130
    # Whatever a library raises is answered in one line too.
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        if isinstance(error, MachineLost):
            _start_again(error)
        if isinstance(error, UserError):
            message, code = f"error: {error}", 2
        elif isinstance(error, WriteError | ServerError):
            message, code = f"error: {error}", 1
        else:
            message = f"fault: {type(error).__name__}: {error} (--debug shows where)"
            code = 1
    print(message, file=sys.stderr, flush=True)
    # What failed may have left a stream of images behind, which reads ahead in threads. They end
    # with it now; a process that ends before them waits for them for ever.
    gc.collect()
    return code


def parse(words: Sequence[str], name: str | None = None) -> Namespace:
    """Reads the words behind the program's name.

    Args:
        words: the command and its arguments.
        name: the command, where the words are its arguments alone.

    Returns:
        The arguments, and as `command` the `fcn_keras.cli.command.Command` they are for.
    """
    if name:
        command = _load(name)
        parser = Parser(description=command.text)
        command.fill(parser)
        return parser.parse_args(words)
    parser = Parser(description="Fully Convolutional Networks for semantic segmentation.")
    if sys.argv[0].endswith("__main__.py"):
        parser.prog = "python -m fcn_keras"
    choices = add_choices(parser)
    asked = next((word for word in words if not word.startswith("-")), None)
    for name in [asked] if asked in COMMANDS else COMMANDS:
        command = _load(name)
        choice = choices.add_parser(name, help=command.text, description=command.text)
        if name == asked:
            command.fill(choice)
    return parser.parse_args(words)


def _load(name) -> Command | Commands:
    return import_module(f"fcn_keras.cli.{name}").COMMAND


def _start_again(error):
    """Replaces this process by one with the same command, which waits for the other machines."""
    print(f"{error} Starting again from the last backup.", file=sys.stderr, flush=True)
    sys.stdout.flush()
    time.sleep(1)
    # Under `python -m` the first argument is the module's file, which does not run on its own.
    # What has been trained since the start must not be deleted.
    started = [word for word in sys.orig_argv[1:] if not word.startswith("--fr")]
    os.execv(sys.executable, [sys.executable, *started])
