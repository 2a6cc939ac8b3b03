"""What `export` wrote as what labels images: without TensorFlow's Python where that can be."""

from pathlib import Path

import numpy as np

from fcn_keras.errors import UserError, first_line
from fcn_keras.inference.c_library import library
from fcn_keras.inference.c_library.in_python import PythonModel
from fcn_keras.inference.classes import find_saved_model, read_classes, read_images
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.system.console import debug_line


def open_model(folder: Path) -> library.Model | PythonModel:
    """Opens a SavedModel in TensorFlow's C library; in its Python where there is none.

    Raises:
        RuntimeError: with TensorFlow's message, if it cannot be opened.
        MemoryError: with TensorFlow's message, if it takes more memory than there is.
    """
    try:
        tf = library.open_library()
    except OSError as error:  # not in every wheel, as in that for Windows
        debug_line(f"{folder}: is opened by TensorFlow's Python: {first_line(error)}")
        return PythonModel(folder)
    return library.Model(folder, tf)


class InLibrary(Segmenter):
    """A network in TensorFlow's C library as what labels images.

    Attributes:
        session: has the signatures `segment`, from `image` to `class_ids`, and `probabilities`.
    """

    session: library.Session | PythonModel

    too_large = f"{Segmenter.too_large[:-1]}, for a run or a .keras file."

    def segment(self, images: np.ndarray) -> np.ndarray:
        return self.session.run("segment", {"image": self.checked(images)})["class_ids"]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self.session.run("probabilities", {"image": self.checked(images)})["probabilities"]


class Exported(InLibrary):
    """A network that was exported.

    It is opened without importing TensorFlow or Keras, but where there is no C library.

    Args:
        path: what `fcn_keras.exporters.saved_model.export` wrote: a SavedModel, or the folder of
            its versions, of which the newest is taken.

    Attributes:
        path: the SavedModel's folder.

    Raises:
        UserError: if there is no such SavedModel; says what to do.

    Example:

    >>> network = Exported("exported/roads")
    >>> network.segment(images).shape == images.shape[:3]
    True
    """

    def __init__(self, path: str | Path):
        folder = find_saved_model(path)
        if folder is None:
            raise UserError(f"{path}: holds no SavedModel.")
        classes, colors = read_classes(folder)
        try:
            self.session = open_model(folder)
        except MemoryError as error:
            raise UserError(f"{folder}: takes more memory than there is.") from error
        except RuntimeError as error:
            what = first_line(error).rstrip(".")
            raise UserError(f"{folder}: is damaged ({what}). Export it again.") from error
        if "segment" not in self.session.signatures:
            raise UserError(f"{folder}: is not what `export` writes: no signature `segment`.")
        # A version is called as the folder of versions is.
        home = Path(path).resolve()
        home = home.parent if home.name.isdecimal() else home
        super().__init__(home.name, classes, colors)
        self.path = folder
        self.images = read_images(folder)
