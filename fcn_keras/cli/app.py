"""The command line: finds the command that was asked for, runs it, and answers what goes wrong."""

import gc
import os
import select
import sys
import time
from argparse import Namespace
from importlib import import_module
from io import TextIOWrapper

from fcn_keras.cli.command import Parser, add_names
from fcn_keras.errors import MachineLost, ServerError, UserError, WriteError

# Command -> what it does. Each is a file beside this one, which holds its `COMMAND`.
COMMANDS = {
    "train": "Train a network; the same command goes on where it was stopped.",
    "evaluate": "Score a network, or label maps on disk, on a data set.",
    "predict": "Write label maps and pictures for images; the same command goes on where it was "
    "stopped.",
    "export": "Write a SavedModel for TensorFlow Serving, or a file for a runtime.",
    "publish": "Put a network on the Hugging Face hub, or into a folder, with a card about it.",
    "demo": "Show what a network makes of images, on a page in the browser.",
    "serve": "Serve a network by TensorFlow Serving's REST protocol, without Docker.",
    "convert": "Turn weights into a .keras or .weights.h5 file, or list them.",
    "data": "List, show, check or prepare data sets, or tell what they allow.",
    "bench": "Measure how fast parts of a training are here.",
}


# What a shell tells of programs that a closed pipe has ended.
_CLOSED = 141


def main(name: str | None = None) -> int:
    """Runs the command that the process was called with.

    Args:
        name: the command, for a program that has only this one.

    Returns:
        The exit code: 0 done, 2 the caller's mistake, 1 a fault of this package, 130 stopped
        by Ctrl-C, 141 if who reads the output has closed it, as `head` does.
    """
    # A terminal, or a file, that has no sign for a letter of a name shows its number.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        args = parse(sys.argv[1:], name)
    except BrokenPipeError:  # of a help text; later Pythons pass over it
        if _is_closed(sys.stdout):
            return _CLOSED
        raise
    # The help text needs neither.
    import traceback

    from fcn_keras.system.console import quiet

    if args.command.keeps_memory:
        from fcn_keras.system.memory import keep_freed_memory

        keep_freed_memory()
    try:
        with quiet(args.debug, args.command.tensorflow):
            code = args.command.run(args) or 0
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        message, code = args.command.stopped, 130
    # Libraries raise anything, and whatever it is, it is told in one line.
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
            return _CLOSED
        if args.debug:
            traceback.print_exc()
        if isinstance(error, MachineLost):
            _start_again(error)
        message = f"error: {error}"
        code = 2 if isinstance(error, UserError) else 1
        if not isinstance(error, UserError | WriteError | ServerError):
            message = f"fault: {type(error).__name__}: {error} (--debug shows where)"
    print(message, file=sys.stderr, flush=True)
    # What failed may have left a stream of images behind, which reads ahead in threads. They end
    # with it now; a process that ends before them waits for them for ever.
    gc.collect()
    return code


def parse(words: list[str], name: str | None = None) -> Namespace:
    """Reads the words behind the name of the program.

    Args:
        words: a command and its arguments.
        name: the command, where the words are its arguments alone.

    Returns:
        The arguments, and as `command` the `fcn_keras.cli.command.Command` that they are for.
    """
    if name:
        parser = Parser(description=COMMANDS[name])
        _command(name).fill(parser)
        return parser.parse_args(words)
    parser = Parser(description="Fully Convolutional Networks for semantic segmentation.")
    if sys.argv[0].endswith("__main__.py"):
        parser.prog = "python -m fcn_keras"
    parsers = add_names(parser, COMMANDS)
    asked = next((word for word in words if not word.startswith("-")), None)
    if asked in COMMANDS:
        _command(asked).fill(parsers[asked])
    return parser.parse_args(words)


def _command(name):
    return import_module(f"fcn_keras.cli.{name}").COMMAND


def _is_closed(stream):
    """Whether nobody reads a stream any more; then nothing else is written to it."""
    if not hasattr(select, "poll"):
        return False
    watched = select.poll()
    watched.register(stream, select.POLLERR)
    if not watched.poll(0):
        return False
    # What is left in it would fail once more when the process ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return True


def _start_again(error):
    """Replaces this process by one with the same command, which waits for the other machines."""
    print(f"{error} Starting again from the last backup.", file=sys.stderr, flush=True)
    sys.stdout.flush()
    time.sleep(1)
    # Under `python -m` the first argument is the module's file, which does not run on its own.
    # What has been trained since the start must not be deleted: without --fresh, however short.
    fresh = [word for word in sys.orig_argv if len(word) > 2 and "--fresh".startswith(word)]
    started = [word for word in sys.orig_argv[1:] if word not in fresh]
    command = [sys.executable, *started]
    if os.name == "nt":  # where `execv` ends this process, and who waits for it goes on at once
        import subprocess

        sys.exit(subprocess.run(command).returncode)
    os.execv(sys.executable, command)
