"""Servers as what labels images."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.client.client import Client
from fcn_keras.errors import UserError
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.inference.segmenter import Segmenter

# What a server decodes. Images in other formats are sent as PNGs.
_SERVED = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


class Remote(Segmenter):
    """A server's network as what labels images.

    Args:
        client: what asks the server.

    Raises:
        UserError, ServerError: as `Client.num_classes` does.
    """

    batch_size = 4
    requests = 4

    def __init__(self, client: Client):
        super().__init__(client.server, *numbered_classes(client.num_classes))
        self.job = {"server": client.server, "version": client.version}
        self._client = client

    def label(
        self, images: Sequence[np.ndarray] | np.ndarray, paths: Sequence[Path] | None = None
    ) -> list[np.ndarray | str]:
        """Does what `Segmenter.label` does, in one request but for what the server refuses.

        Raises:
            UserError: if the server answers with class ids of another size, and as `Client.label`.
            ServerError: as `Client.label` does.
        """
        sources = [None] * len(images) if paths is None else paths
        files = [
            path.read_bytes() if path and path.suffix.lower() in _SERVED else _as_png(image)
            for image, path in zip(images, sources, strict=True)
        ]
        answers: list[np.ndarray | str] = []
        for image, path, class_ids in zip(images, sources, self._client.label(files), strict=True):
            # Not all that Pillow reads is decoded there, and names may lie.
            if class_ids is None:
                [class_ids] = self._client.label([_as_png(image)])
            if class_ids is not None and class_ids.shape != image.shape[:2]:
                raise UserError(
                    f"{path or self.name}: has {image.shape[:2]} pixels, and the server answered "
                    f"with {class_ids.shape}."
                )
            answers.append("is refused by the server." if class_ids is None else class_ids)
        return answers

    def score(
        self, images: Sequence[np.ndarray] | np.ndarray, paths: Sequence[Path] | None = None
    ) -> list[np.ndarray | str]:
        """Does what `Segmenter.score` does; raises as `label` does."""
        return [
            "is refused by the server." if answer is None else answer
            for answer in self._client.score([*images])
        ]


def _as_png(image):
    file = BytesIO()
    Image.fromarray(image).save(file, "png", compress_level=1)
    return file.getvalue()
