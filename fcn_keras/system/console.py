"""What a process prints: nothing that a user can do nothing about."""

import os
import sys
import tempfile
import warnings
from contextlib import contextmanager

from fcn_keras.errors import UserError
from fcn_keras.system.processor import use_onednn


@contextmanager
def quiet(debug, tensorflow):
    """Keeps TensorFlow from printing banners and warnings that a user can do nothing about."""
    use_onednn()
    if debug:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if tensorflow:
            import_tensorflow_silently()
        yield


def import_tensorflow_silently():
    """Imports TensorFlow, whose C++ code prints banners at import that no setting silences."""
    with stderr_held():
        import tensorflow as tf
    import absl.logging

    tf.get_logger().setLevel("ERROR")
    absl.logging.set_verbosity(absl.logging.ERROR)


@contextmanager
def stderr_held():
    """Keeps back what is printed to standard error, by C++ code too, unless a fault needs it."""
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
