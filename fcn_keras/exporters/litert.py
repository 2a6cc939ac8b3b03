"""LiteRT's files, and LiteRT."""

import zipfile
from pathlib import Path

import keras
import tensorflow as tf

from fcn_keras.exporters.formats import Metadata, Run


def write(model: keras.Model, path: Path, metadata: Metadata) -> None:
    keras.Model(model.input, {"score": model.output}, name=model.name).export(
        str(path),
        format="litert",
        verbose=False,
        input_signature=[keras.InputSpec("uint8", model.input_shape, name="image")],
        # Without TensorFlow's own operations, which few installations of LiteRT have.
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
    )
    # As TensorFlow Lite's metadata does it, a zip archive lies behind the network.
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in metadata.files().items():
            archive.writestr(name, text)


def run(path: Path, model: keras.Model) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    return lambda image: runner(image=image)["score"]
