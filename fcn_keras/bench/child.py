"""Processes to measure in: each begins with nothing of what this one has in memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fcn_keras.system.processor import ONEDNN
from fcn_keras.system.signals import ENDING

PATIENCE = 60  # seconds that a process may take to end when it is asked to


class ChildFailed(RuntimeError):
    """A process has ended before it answered; says why in one line."""


def run_child(
    words: Sequence[object], text: str = "", onednn: bool = True, **variables: str
) -> str:
    """Runs Python to its end.

    Args:
        words: its arguments.
        text: what it reads from standard input.
        onednn: whether TensorFlow computes there as it does here; if not, as it comes.
        **variables: of its environment, beside those of this process.

    Returns:
        The last line that it printed.

    Raises:
        ChildFailed: if it fails.
    """
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=_environment(onednn, variables),
    )
    if done.returncode:
        raise ChildFailed(_reason(done.returncode, done.stderr))
    return (done.stdout.splitlines() or [""])[-1]


@contextmanager
def answering_child(
    words: Sequence[object], onednn: bool = True, **variables: str
) -> Iterator[Callable[[object], dict]]:
    """Starts Python, which answers each line of JSON by another one; ends it afterwards.

    Args:
        words, onednn, variables: see `run_child`.

    Yields:
        A function that sends something, and waits for the answer. It raises `ChildFailed` if
        there is none.
    """
    with _started(words, onednn, variables) as (process, failure):

        def ask(message: object) -> dict:
            try:
                process.stdin.write(json.dumps(message).encode() + b"\n")
            except BrokenPipeError:
                pass  # that there is no answer tells why
            if line := process.stdout.readline():
                return json.loads(line)
            raise failure()

        try:
            yield ask
        finally:
            process.kill()


@contextmanager
def serving_child(words: Sequence[object]) -> Iterator[str]:
    """Starts Python, which prints a line once it is ready, and serves; asks it to end afterwards.

    Args:
        words: see `run_child`.

    Yields:
        The line.

    Raises:
        ChildFailed: if it ends before.
    """
    with _started(words, True, {}) as (process, failure):
        try:
            line = process.stdout.readline()
            if not line:
                raise failure()
            yield line.decode()
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()


@contextmanager
def _started(words, onednn, variables):
    """A process, and what makes a `ChildFailed` of how it has ended."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        # Without buffers: what could not be sent is not sent again when all is closed.
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            env=_environment(onednn, variables),
        ) as process,
    ):

        def failure():
            code = process.wait()
            errors.seek(0)
            return ChildFailed(_reason(code, errors.read()))

        yield process, failure


def watched_child(
    words: Sequence[object],
    text: str,
    output: Path,
    is_enough: Callable[[], bool],
    **variables: str,
) -> bool:
    """Runs Python to its end, or until what it has done is enough.

    Args:
        words, text, **variables: see `run_child`.
        output: a file for what it prints.
        is_enough: called every second; whether to end it.

    It is asked to end when this process is, too, and may finish what it is at.

    Returns:
        Whether it has come to its own end.

    Raises:
        ChildFailed: if it fails.
    """
    with (
        tempfile.TemporaryFile() as asked,
        open(output, "w+", encoding="utf-8", errors="replace") as printed,
    ):
        asked.write(text.encode())
        asked.seek(0)
        with subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdin=asked,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env=_environment(True, variables),
            start_new_session=True,  # Ctrl-C is for this process, which ends the other one
        ) as process:
            before = {
                number: signal.signal(number, signal.default_int_handler) for number in ENDING
            }
            try:
                while True:
                    try:
                        code = process.wait(1)
                        break
                    except subprocess.TimeoutExpired:
                        if is_enough():
                            return False
            finally:
                process.terminate()
                process.wait()
                for number, handler in before.items():
                    signal.signal(number, handler)
        if code:
            printed.seek(0)
            raise ChildFailed(_reason(code, printed.read()))
    return True


def _environment(onednn, variables):
    # Where the package is not installed, the process must find it as this one did.
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    told = {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
    environment = os.environ | told | variables
    if not onednn:
        environment.pop(ONEDNN, None)
    return environment


def _reason(code, errors):
    if code < 0:
        memory = ", as the system does where memory has run out" if code == -9 else ""
        return f"killed by signal {-code}{memory}"
    # Messages may have several lines, the last of which may say nothing.
    lines = [line for line in errors.splitlines() if len(line) > 2]
    return (lines or [f"ended with {code}"])[-1]
