"""SavedModels through TensorFlow's Python, where its C library cannot be opened."""

from pathlib import Path
from typing import Any

from fcn_keras.system.console import import_tensorflow_silently
from fcn_keras.system.plain_path import plain_path


class PythonModel:
    """What `fcn_keras.inference.c_library.library.Model` is, with the same results.

    TensorFlow has to be imported for it, which takes seconds.

    Args:
        path: the SavedModel's folder.

    Attributes:
        signatures: functions by name.

    Raises:
        RuntimeError: with TensorFlow's message, if it cannot be opened, or when it runs.
        MemoryError: with TensorFlow's message, if it takes more memory than there is.
    """

    def __init__(self, path: str | Path):
        import_tensorflow_silently()
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        self.errors = tf.errors
        # The signatures do not keep the variables that they use.
        self._opened = self._checked((OSError, DecodeError), tf.saved_model.load, plain_path(path))
        self.signatures = self._opened.signatures

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the outputs of a signature by name: arrays."""
        outputs = self._checked((), self.signatures[signature], **inputs)
        return {name: output.numpy() for name, output in outputs.items()}

    def _checked(self, others, function, *args, **options):
        try:
            return function(*args, **options)
        except self.errors.ResourceExhaustedError as error:
            raise MemoryError(error.message) from error
        except (self.errors.OpError, *others) as error:
            raise RuntimeError(str(error)) from error
