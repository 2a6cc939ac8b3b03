"""LiteRT's files, and LiteRT."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.exporters.formats import Metadata, Run
from fcn_keras.models.channels import image_spec


def write(model: keras.Model, path: Path, metadata: Metadata) -> None:
    # Without TensorFlow's own operations, which few installations of LiteRT have.
    _convert(model, path, target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]})
    _append(metadata, path)


def write_int8(
    model: keras.Model, whole: Path, path: Path, metadata: Metadata, images: Iterable[np.ndarray]
) -> None:
    # What 8 bits cannot do, such as reading a shape, stays as it is.
    kinds = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    _convert(
        model,
        path,
        target_spec={"supported_ops": kinds},
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image[None]] for image in images),
    )
    path.write_bytes(_shared(path.read_bytes()))
    _append(metadata, path)


def _convert(model, path, **options):
    shape, dtype = image_spec(model)
    keras.Model(model.input, {"score": model.output}, name=model.name).export(
        str(path),
        format="litert",
        verbose=False,
        input_signature=[keras.InputSpec(dtype, shape, name="image")],
        **options,
    )


def _append(metadata, path):
    """As TensorFlow Lite's metadata does it, a zip archive lies behind the network."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in metadata.files().items():
            archive.writestr(name, text)


def _shared(content):
    """The same network with equal vectors stored once.

    The converter writes 8 bytes of zeros for each channel of each layer, a tenth of a small
    network's file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Builder(flatbuffers.Builder):
        def __init__(self, size):
            super().__init__(size)
            self.written = {}

        def StartVector(self, elemSize, numElems, alignment):
            # Weights lie as the schema wants them, which the Python library does not look at.
            return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)

        def CreateNumpyVector(self, x):
            key = x.dtype.str, x.tobytes()
            if key not in self.written:
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    builder = Builder(len(content))
    builder.Finish(schema.ModelT.InitFromPackedBuf(content, 0).Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(path: Path, model: keras.Model) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner()
    return lambda image: runner(image=image)["score"]
