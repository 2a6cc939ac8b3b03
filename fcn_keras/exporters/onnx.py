"""ONNX files, and ONNX Runtime."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf

from fcn_keras.exporters.formats import Metadata, Run
from fcn_keras.exporters.networks import as_graph

# Axes of a kernel: ONNX has both kinds of channels before height and width.
_TO_ONNX, _FROM_ONNX = (3, 2, 0, 1), (2, 3, 1, 0)


def write(model: keras.Model, path: Path, metadata: Metadata) -> None:
    """Does what `model.export` does, which takes the mean that is subtracted for an input.

    The weights stay out of the conversion, which would take 30 times their size in memory.
    """
    import onnx
    import tf2onnx

    def call(image, arrays):
        weights = [
            tf.transpose(array, _FROM_ONNX) if len(array.shape) == 4 else array for array in arrays
        ]
        with keras.StatelessScope(zip(model.weights, weights, strict=True)):
            return model(image, training=False)

    names = [weight.path for weight in model.weights]
    arrays = [
        np.ascontiguousarray(array.transpose(_TO_ONNX)) if array.ndim == 4 else array
        for array in map(keras.ops.convert_to_numpy, model.weights)
    ]
    traced = as_graph(model, call, [tf.TensorSpec(array.shape, array.dtype) for array in arrays])
    # Behind these come the constants that the graph has captured.
    inputs = dict(zip((tensor.name for tensor in traced.inputs), ["image", *names], strict=False))
    [score] = traced.outputs
    proto, _ = tf2onnx.convert.from_graph_def(
        traced.graph.as_graph_def(),
        name=model.name,
        input_names=[*inputs],
        output_names=[score.name],
        tensors_to_rename={**inputs, score.name: "score"},
    )
    del proto.graph.input[1:]
    for name, array in zip(names, arrays, strict=True):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for value in (*proto.graph.input, *proto.graph.output):
        for side, letter in zip(value.type.tensor_type.shape.dim, "NHW", strict=False):
            if not side.dim_value:
                side.dim_param = letter
    onnx.helper.set_model_props(proto, metadata.texts())
    onnx.save(proto, path)


def write_int8(
    model: keras.Model, whole: Path, path: Path, metadata: Metadata, images: Iterable[np.ndarray]
) -> None:
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.images = iter(images)

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"image": image[None]}

    with TemporaryDirectory() as folder:
        # Normalisation becomes a part of the convolutions before it.
        prepared, plain = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(plain),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        proto = onnx.load(plain)
    onnx.helper.set_model_props(proto, metadata.texts())
    onnx.save(proto, path)


def run(path: Path, model: keras.Model) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["score"], {"image": image})[0]
