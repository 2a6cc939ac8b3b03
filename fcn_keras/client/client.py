"""Label maps from a server that speaks TensorFlow Serving's protocol, by REST or gRPC.

Of TensorFlow nothing is imported for REST.
"""

import io
import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from fcn_keras.client.rest import FileRefused, Rest
from fcn_keras.errors import ServerError, UserError

_FORMS = "http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME"

# What stands before the model's name; its name, version and label.
_ADDRESS = re.compile(
    r"(https?://[^/?#\s]+(?:/(?!v1/models)[^/?#\s]+)*/v1/models|grpc://[^/?#\s]+)"
    r"/([^/:?#\s]+)(?:/versions/(\d+)|/labels/([^/:?#\s]+))?"
)


class Client:
    """Asks a server for label maps.

    The server has a network that `fcn_keras.exporters.saved_model.export` wrote. A failed
    connection, no answer in time, and answers that say "not now" (429, 502, 503, 504; in gRPC
    UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED) are tried again after a pause, which grows,
    is random in part, and is at least what the server asks for by `Retry-After`, but never above
    half a minute. So a call ends after at most `retries + 1` times `timeout`, and the pauses.

    One client serves several threads.

    Args:
        server: `http://HOST:8501/v1/models/NAME` or `grpc://HOST:8500/NAME`, either of them with
            `/versions/N` or `/labels/LABEL` behind if need be. gRPC needs the extra `client`.
        model: `NAME`, likewise, if `server` is an address alone.
        timeout: seconds that one attempt may take.
        retries: how often a failed attempt is repeated.

    Attributes:
        server: the whole address, as given.

    Raises:
        UserError: if the address is of no such form, or the extra is missing. Nothing is asked
            of the server yet.

    Example:

    >>> client = Client("http://localhost:8501/v1/models/roads")
    >>> [class_ids] = client.label([open("photo.jpg", "rb").read()])
    """

    def __init__(
        self, server: str, model: str | None = None, *, timeout: float = 60.0, retries: int = 5
    ):
        if timeout <= 0:
            raise UserError(f"`timeout` must be above 0. Received: {timeout}.")
        if retries < 0:
            raise UserError(f"`retries` must be 0 or more. Received: {retries}.")
        address, name, version, label = _parse(server, model)
        transport = _grpc() if address.startswith("grpc:") else Rest
        self._transport = transport(address, name, version, label, timeout, retries)
        self.server = server if model is None else f"{address}/{model}"

    @cached_property
    def _description(self):
        return self._transport.describe()

    @property
    def version(self) -> str:
        """The version of the network that answered first; raises as `num_classes` does."""
        return self._description[0]

    @cached_property
    def num_classes(self) -> int:
        """How many classes the server's network tells apart.

        Raises:
            UserError: if the server has no such model, or it is none of this package's.
            ServerError: if the server cannot be reached, or fails.
        """
        _, found = self._description
        dtype, shape = found.get("class_pixels", ("", []))
        if (
            found.get("image_bytes") != ("DT_STRING", [-1])
            or found.get("mask_bytes") != ("DT_STRING", [-1])
            or dtype != "DT_INT32"
            or len(shape) != 2
            or not 0 < shape[1] <= 256
        ):
            raise UserError(
                f"{self._transport.where}: is no network that `fcn-keras export` wrote: its "
                "serving_default must take image_bytes and give mask_bytes and class_pixels. "
                f"Received: {', '.join(sorted(found)) or 'none'}."
            )
        return shape[1]

    def label(self, files: Sequence[bytes]) -> list[np.ndarray | None]:
        """Asks for the label maps of image files, in one request.

        Where the server refuses the request because it is too large, or because of one file
        (it does so if it was exported with `strict`), it is asked in halves.

        Args:
            files: contents of JPEG, PNG, BMP or GIF files, of any sizes.

        Returns:
            A list as long as `files`: class ids, uint8 `(H, W)`, each map as large as its image;
            None where the server cannot decode the file, or does not take one so large.

        Raises:
            UserError: if the server refuses the request, has no such model, or a model that is
                none of this package's.
            ServerError: if the server cannot be reached, fails, or answers what is no answer.
        """
        if not files:
            return []
        num_classes = self.num_classes
        try:
            masks = self._transport.predict(files)
        except FileRefused:
            if len(files) == 1:
                return [None]
            half = len(files) // 2
            return self.label(files[:half]) + self.label(files[half:])
        if len(masks) != len(files):
            raise self._nonsense(f"{len(masks)} masks for {len(files)} files")
        return [self._decode(mask, num_classes) for mask in masks]

    def score(self, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        """Asks for the probabilities of all classes, in a request for each image.

        Args:
            images: each uint8 `(H, W, 3)`, RGB.

        Returns:
            A list as long as `images`: float32 `(H, W, C)`, which add up to 1 at each pixel; None
            where the server does not take an image so large.

        Raises:
            UserError, ServerError: as `label` does.
        """
        return [self._score(image) for image in images]

    def _score(self, image):
        shape = (*image.shape[:2], self.num_classes)
        try:
            answer = self._transport.score(image)
        except FileRefused:
            return None
        if answer.shape != shape:
            raise self._nonsense(f"probabilities of the shape {answer.shape} instead of {shape}")
        if not np.allclose(answer.sum(axis=-1), 1, atol=1e-2) or answer.min() < 0:
            raise self._nonsense("probabilities that do not add up to 1")
        return answer

    def _decode(self, mask, num_classes):
        if mask == b"":
            return None
        try:
            with Image.open(io.BytesIO(mask), formats=["PNG"]) as image:
                mode, class_ids = image.mode, np.array(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise self._nonsense("a mask that is no PNG") from error
        if mode != "L":
            raise self._nonsense(f"a mask of mode {mode} instead of 8-bit grey")
        if class_ids.max() >= num_classes:
            raise self._nonsense(f"class {class_ids.max()}, of {num_classes} classes")
        return class_ids

    def _nonsense(self, what):
        return ServerError(f"{self._transport.where}: gave a wrong answer: {what}.")


def _parse(server, model):
    address = server.rstrip("/")
    if model is not None:
        address += f"/{model}" if address.startswith("grpc:") else f"/v1/models/{model}"
    parts = _ADDRESS.fullmatch(address)
    if not parts:
        raise UserError(
            f"--server: must be like {_FORMS}, with /versions/N or /labels/LABEL behind it if "
            f"need be. Received: {server!r}" + (f" and the model {model!r}." if model else ".")
        )
    return parts.groups()


def _grpc():
    try:
        from fcn_keras.client.grpc import Grpc
    except ImportError as error:
        raise UserError(
            "--server: grpc:// needs the package tensorflow-serving-api: "
            f'pip install "fcn_keras[client]". Or use http://. ({error})'
        ) from error
    return Grpc
