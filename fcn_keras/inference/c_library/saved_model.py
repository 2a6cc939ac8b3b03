"""What `export` wrote, as a function from images to class ids: without TensorFlow's Python."""

from pathlib import Path

import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.inference.c_library import library as c_api
from fcn_keras.inference.classes import find_saved_model, read_classes


class InLibrary:
    """A network in TensorFlow's C library.

    Attributes:
        classes: C names.
        colors: C RGB triples.
    """

    def segment(self, images: np.ndarray) -> np.ndarray:
        """Labels images.

        Args:
            images: uint8 `(N, H, W, 3)`, RGB.

        Returns:
            uint8 `(N, H, W)`, class ids.

        Raises:
            MemoryError: if they take more memory than there is.
        """
        return self._model.run("segment", {"image": images})["class_ids"]


class Exported(InLibrary):
    """A network that was exported, in TensorFlow's C library.

    It is opened without importing TensorFlow or Keras.

    Args:
        path: what `fcn_keras.exporters.saved_model.export` wrote: a SavedModel, or the folder of
            its versions, of which the newest is taken.

    Attributes:
        path: the SavedModel's folder.
        classes: C names.
        colors: C RGB triples.

    Raises:
        UserError: if there is no such SavedModel, or no C library; says what to do.

    Example:

    >>> network = Exported("exported/roads")
    >>> network.segment(images).shape == images.shape[:3]
    True
    """

    def __init__(self, path: str | Path):
        self.path = find_saved_model(path)
        if self.path is None:
            raise UserError(f"{path}: holds no SavedModel.")
        self.classes, self.colors = read_classes(self.path)
        try:
            self._model = c_api.Model(self.path)
        except OSError as error:
            raise UserError(
                f"{self.path}: needs TensorFlow's C library, {c_api.library_path().name}, which "
                f"cannot be opened ({error}). Give a run or a .keras file."
            ) from error
        except MemoryError as error:
            raise UserError(f"{self.path}: takes more memory than there is.") from error
        except RuntimeError as error:
            what = str(error).partition("\n")[0].rstrip(".")
            raise UserError(f"{self.path}: is damaged ({what}). Export it again.") from error
        if "segment" not in self._model.signatures:
            raise UserError(f"{self.path}: is not what `export` writes: no signature `segment`.")
