"""What a command prints: nothing that a user can do nothing about, unless it is asked to.

Other programs, which use the package in Python, print what they like: outside of `quiet` nothing is
held back.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fcn_keras.errors import UserError
from fcn_keras.system.processor import use_onednn

_quiet = _debug = False


@contextmanager
def quiet(debug: bool, tensorflow: bool) -> Iterator[None]:
    """Keeps TensorFlow from printing banners and warnings that a user can do nothing about.

    Args:
        debug: whether to let everything through, and to print what only then is of use.
        tensorflow: whether to import TensorFlow, which prints at import.
    """
    global _quiet, _debug
    use_onednn()
    _quiet, _debug = not debug, debug
    try:
        with warnings.catch_warnings():
            if not debug:
                os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
                warnings.simplefilter("ignore")
            if tensorflow:
                import_tensorflow_silently()
            yield
    finally:
        _quiet = _debug = False


def import_tensorflow_silently():
    """Imports TensorFlow, whose C++ code prints banners at import that no setting silences."""
    if not _quiet:
        return
    with stderr_held():
        import tensorflow as tf
    import absl.logging

    tf.get_logger().setLevel("ERROR")
    absl.logging.set_verbosity(absl.logging.ERROR)


def debug_line(text: str):
    """Prints a line to standard error where a command is asked to."""
    if _debug:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def stderr_held() -> Iterator[None]:
    """Keeps back what is printed to standard error, by C++ code too, unless a fault needs it."""
    if not _quiet:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
