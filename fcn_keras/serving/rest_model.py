"""TensorFlow Serving's REST protocol for one SavedModel: JSON in, JSON out, no network."""

import base64
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from fcn_keras.errors import UserError
from fcn_keras.serving.request import input_tensor, parse, shown
from fcn_keras.system.plain_path import plain_path


class RestModel:
    """A SavedModel that answers as TensorFlow Serving's REST interface does.

    It runs the graph that TensorFlow Serving runs.

    Args:
        folder: holds `saved_model.pb`.
        name: what the model is called in addresses.
        version: its number there.

    Raises:
        UserError: if `fcn_keras.exporters.saved_model.export` has not written it.

    Example:

    >>> model = RestModel("exported/roads/1", "roads", 1)
    >>> model.predict({"instances": [{"image_bytes": {"b64": photo}}]})
    {'predictions': [{'class_pixels': [9102, 0, 411], 'mask_bytes': {'b64': 'iVBORw0K...'}}]}
    """

    def __init__(self, folder: str | Path, name: str, version: int):
        self.name, self.version = name, version
        # The variables live as long as what was loaded.
        self._loaded = tf.saved_model.load(plain_path(folder))
        self._functions = self._loaded.signatures
        missing = {"segment", "probabilities"} - set(self._functions)
        if missing:
            raise UserError(
                f"{folder}: has no signature {', '.join(sorted(missing))}, as what `fcn-keras "
                "export` writes has."
            )
        graph = SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
        self._signature_defs = {
            key: MessageToDict(
                graph.meta_graphs[0].signature_def[key],
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for key in self._functions
        }

    def status(self) -> dict[str, Any]:
        """What `GET /v1/models/NAME` answers."""
        return {
            "model_version_status": [
                {
                    "version": str(self.version),
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        }

    def metadata(self) -> dict[str, Any]:
        """What `GET /v1/models/NAME/metadata` answers: the signatures."""
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": self._signature_defs}},
        }

    def predict(self, body: Any) -> dict[str, Any]:
        """What `POST /v1/models/NAME:predict` answers.

        Args:
            body: the request, parsed or as it came; see `fcn_keras.serving.request`. `instances`
                is a list of inputs, and `inputs` has them as a column; either with their name or,
                as it is the only one, without. `signature_name` is `serving_default` if not
                given, or empty. Bytes stand as `{"b64": BASE64}`.

        Returns:
            `{"predictions": [...]}` for `instances`, else `{"outputs": ...}`. A single output
            stands without its name. Those whose name ends in `_bytes` stand as bytes do.

        Raises:
            UserError: if the request is wrong, or the model refuses it; in one line.
        """
        request = parse(body)
        name = request.signature or "serving_default"
        if name not in self._functions:
            raise UserError(
                f"`signature_name` must be one of {', '.join(sorted(self._functions))}. "
                f"Received: {shown(name)}."
            )
        function = self._functions[name]
        # Each signature has one input.
        [(input_name, spec)] = function.structured_input_signature[1].items()
        tensor = input_tensor(request, input_name, spec)
        try:
            outputs = function(**{input_name: tensor})
        except tf.errors.InvalidArgumentError as error:
            # What happened stands between where it did, indented, and a heading.
            lines = [line for line in error.message.splitlines() if line[:1].strip()]
            raise UserError(lines[-1]) from error
        columns = {key: _to_json(key, output) for key, output in sorted(outputs.items())}
        if len(columns) == 1:
            [column] = columns.values()
            return {"predictions" if request.by_rows else "outputs": column}
        if not request.by_rows:
            return {"outputs": columns}
        rows = zip(*columns.values(), strict=True)
        return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def _to_json(name, tensor):
    if tensor.dtype == tf.string and name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in tensor.numpy()]
    return tensor.numpy().tolist()
