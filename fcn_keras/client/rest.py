"""TensorFlow Serving's protocol by REST: requests that are repeated, answers that are checked."""

import base64
import json
import re

import numpy as np
import urllib3

from fcn_keras.errors import ServerError, UserError

# Seconds to wait for a connection; from one attempt to the next, doubled each time up to the
# longest, which is also as long as a server may ask to wait.
CONNECT_TIMEOUT = 10

BACKOFF, LONGEST_BACKOFF = 0.5, 30

# What a server, or a proxy before it, says when it cannot answer now.
_NOT_NOW = (429, 502, 503, 504)


class FileRefused(Exception):
    """The server refused a whole request for one file in it, or because it is too large."""


class Rest:
    """Asks one model of a server by REST.

    Args:
        address: up to the model's name, `http://HOST:8501/v1/models`.
        name, version, label: the model; version, label or both are None.
        timeout, retries: see `fcn_keras.client.client.Client`.

    Attributes:
        where: the address in full.
    """

    def __init__(self, address, name, version, label, timeout, retries):
        self.where = f"{address}/{spec(name, version, label)}"
        self.timeout = timeout
        # An answer changes nothing on the server, so whatever fails can be asked again. urllib3
        # and not requests, which leaves a connection that breaks amid an answer to its caller.
        policy = urllib3.Retry(
            retries,
            redirect=False,
            allowed_methods=None,
            status_forcelist=_NOT_NOW,
            raise_on_status=False,
            backoff_factor=BACKOFF,
            backoff_jitter=BACKOFF,
            backoff_max=LONGEST_BACKOFF,
            retry_after_max=LONGEST_BACKOFF,
        )
        limits = urllib3.Timeout(connect=min(timeout, CONNECT_TIMEOUT), read=timeout)
        self.pool = urllib3.PoolManager(retries=policy, timeout=limits, maxsize=32)

    def describe(self) -> tuple[str, dict[str, tuple[str, list[int]]]]:
        """The model's version, and what `serving_default` takes and gives: type and shape."""
        metadata = self._ask("GET", "/metadata")
        try:
            version = str(metadata.get("model_spec", {}).get("version", ""))
            signatures = metadata["metadata"]["signature_def"]["signature_def"]
            signature = signatures.get("serving_default", {"inputs": {}, "outputs": {}})
            return version, {
                name: (tensor["dtype"], [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]])
                for name, tensor in (signature["inputs"] | signature["outputs"]).items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServerError(f"{self.where}/metadata: describes no model.") from None

    def predict(self, files) -> list[bytes]:
        """The masks of image files, as PNGs."""
        instances = [{"image_bytes": {"b64": base64.b64encode(file).decode()}} for file in files]
        answer = self._ask("POST", ":predict", {"instances": instances})
        try:
            predictions = answer["predictions"]
            return [base64.b64decode(p["mask_bytes"]["b64"], validate=True) for p in predictions]
        except (KeyError, TypeError, ValueError):
            raise ServerError(
                f"{self.where}: gave a wrong answer: one without predictions of mask_bytes."
            ) from None

    def score(self, image: np.ndarray) -> np.ndarray:
        """What `probabilities` answers for an image, float32 `(H, W, C)`."""
        body = {"signature_name": "probabilities", "instances": [image.tolist()]}
        answer = self._ask("POST", ":predict", body)
        try:
            [probabilities] = answer["predictions"]
            return np.asarray(probabilities, np.float32)
        except (KeyError, TypeError, ValueError):
            raise ServerError(
                f"{self.where}: gave a wrong answer: one without predictions of probabilities."
            ) from None

    def _ask(self, method, what, body=None):
        try:
            response = self.pool.request(method, self.where + what, json=body)
        except urllib3.exceptions.HTTPError as error:
            error = getattr(error, "reason", None) or error
            raise ServerError(f"{self.where}: {self._why(error)}.") from error
        if response.status == 200:
            try:
                return response.json()
            except ValueError:
                raise ServerError(
                    f"{self.where}: gave a wrong answer: one that is no JSON."
                ) from None
        message = _message(response)
        if response.status == 413:
            raise FileRefused
        if response.status == 400:
            check_refusal(message)
        message = f"{self.where}: answered {response.status}: {message}"
        refused = 400 <= response.status < 500 and response.status not in (408, 429)
        raise UserError(message) if refused else ServerError(message)

    def _why(self, error):
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return f"no answer within {self.timeout:g} s"
        cause = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.strerror:
                return f"no connection: {cause.strerror}"
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
            return "no connection in time"
        return one_line(str(error))


def spec(name, version, label):
    """A model as it stands in an address."""
    if version:
        return f"{name}/versions/{version}"
    return f"{name}/labels/{label}" if label else name


def check_refusal(message: str):
    """Tells a refusal that half of the files may not meet with from others.

    Raises:
        FileRefused: if the network was exported with `strict` and cannot decode one of them, or
            they are more than TensorFlow Serving takes at once (`max_batch_size`).
    """
    if re.search(r"image_bytes\[\d+\]: is no |Task size \d+ is larger than max", message):
        raise FileRefused


def one_line(text: str, length: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[:length]}..."


def _message(response):
    """What a server says as `{"error": ...}`, or as other servers do, in words that are no page."""
    text = response.data.decode(errors="replace")
    try:
        said = json.loads(text)
        text = str(said.get("error") or said["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        if text.lstrip().startswith("<"):
            text = ""
    return one_line(text or response.reason or "nothing")
