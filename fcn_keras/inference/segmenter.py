"""What labels images, whatever it is: a network in Keras or TensorFlow's C library, or a server."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcn_keras.data.files.large import Bands
from fcn_keras.data.files.readers import PHOTOGRAPHS, ImageReader
from fcn_keras.errors import UserError

if TYPE_CHECKING:
    from fcn_keras.inference.network import Network


class Segmenter:
    """Labels images.

    A kind of it has a `segment` and `probabilities` of its own, or a `label` and a `score`.

    Args:
        name: what it is called.
        classes: C names.
        colors: C RGB triples.

    Raises:
        UserError: if there are more classes than 256.

    Attributes:
        name, classes, colors: as given.
        job: what its label maps depend on beside the images, classes and colours, for JSON; of a
            Keras model, which tells nothing of itself, it is empty.
        network: the network with its Keras model; None if it is not in Keras.
        images: how the images are read that it takes.
        batch_size: how many images, of any sizes, `label` is best given at a time; None for as
            many of one size as memory holds.
        requests: how many calls of `label` may wait for a server at a time; 0 if there is none.
        at_once: how many calls of `label` are best underway at a time, of a network that is here.
            A light one leaves cores idle between its operations, which another call takes; of
            others each call takes much memory.
        by_parts: whether `label_parts` labels large images, which are never in memory as a whole.
        too_large: what is wrong with an image that memory does not hold.
    """

    network: "Network | None" = None
    images: ImageReader = PHOTOGRAPHS
    batch_size: int | None = None
    requests: int = 0
    at_once: int = 1
    by_parts: bool = False
    too_large: str = "takes more memory than there is: see --tile."

    def __init__(self, name: str, classes: list[str], colors: list[tuple[int, int, int]]):
        if len(classes) > 256:
            raise UserError(
                f"{name}: tells {len(classes)} classes apart; a label map of 8 bits holds 256."
            )
        self.name, self.classes, self.colors = name, classes, colors
        self.job: dict[str, Any] = {}

    def label(
        self, images: Sequence[np.ndarray] | np.ndarray, paths: Sequence[Path] | None = None
    ) -> list[np.ndarray | str]:
        """Labels images; those of one size go through the network together.

        Args:
            images: each as `self.images` reads them: uint8 `(H, W, 3)`, RGB, if they are
                photographs.
            paths: the files that they were read from, if there are any.

        Returns:
            For each image its class ids, uint8 `(H, W)`; or one line that says why there are none.
        """
        return self._of_each(self.segment, images)

    def score(
        self, images: Sequence[np.ndarray] | np.ndarray, paths: Sequence[Path] | None = None
    ) -> list[np.ndarray | str]:
        """Does what `label` does, for the probabilities of all classes.

        Args:
            images, paths: see `label`.

        Returns:
            For each image float32 `(H, W, C)`, which add up to 1 at each pixel; or one line that
            says why there are none.
        """
        return self._of_each(self.probabilities, images)

    def check_photographs(self, what: str) -> None:
        """Raises a `UserError` if the network takes other images, which `what` has none of."""
        if self.images != PHOTOGRAPHS:
            raise UserError(
                f"{what}: is for networks that take photographs, and {self.name} takes "
                f"{self.images}."
            )

    def checked(self, images: np.ndarray) -> np.ndarray:
        """Returns images of one size as the network takes them.

        Numbers of another kind are taken where they are the same in this one.

        Raises:
            UserError: if they are other numbers then, or have another shape.
        """
        images = np.asarray(images)
        channels, dtype = self.images.channels, np.dtype(self.images.dtype)
        if images.ndim != 4 or images.shape[-1] != channels:
            raise UserError(
                f"{self.name}: takes images (N, H, W, {channels}). Received: {images.shape}."
            )
        if images.dtype == dtype:
            return images
        with np.errstate(invalid="ignore"):  # what is no number is no whole one
            taken = images.astype(dtype)
        if dtype.kind != "f" and not np.array_equal(taken, images):
            raise UserError(
                f"{self.name}: takes images as they are in their files, {dtype}: whole numbers "
                f"from 0 to {np.iinfo(dtype).max}. Received: {images.dtype} from {images.min()} "
                f"to {images.max()}."
            )
        return taken

    def label_parts(
        self,
        image: Bands,
        class_ids: np.ndarray,
        choose: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Labels a large image, part by part.

        Args:
            image: its windows, as `self.images` reads them.
            class_ids: uint8 `(H, W)`, to be filled.
            choose: gives the class ids for probabilities, float32 `(1, h, w, C)`; the most
                probable if not given.

        Raises:
            MemoryError: if a part takes more memory than there is.
            UserError: if the image cannot be read.
        """
        raise NotImplementedError

    def _of_each(self, function, images):
        if len({image.shape for image in images}) == 1:
            try:
                return list(function(np.stack([*images])))
            except MemoryError:
                if len(images) == 1:
                    return [self.too_large]
        return [self._of_each(function, [image])[0] for image in images]

    def segment(self, images: np.ndarray) -> np.ndarray:
        """Labels images of one size: uint8 `(N, H, W, 3)` to class ids, uint8 `(N, H, W)`.

        Raises:
            MemoryError: if they take more memory than there is.
            UserError: see `checked`.
        """
        raise NotImplementedError

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Scores images of one size: uint8 `(N, H, W, 3)` to float32 `(N, H, W, C)`.

        Raises:
            MemoryError: if they take more memory than there is.
            UserError: see `checked`.
        """
        raise NotImplementedError
