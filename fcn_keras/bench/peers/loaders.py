"""How each program loads the network, by its name in `fcn_keras.bench.peers.programs.PEERS`.

Each takes its file, see `fcn_keras.bench.peers.files`, and the network that is in it. It returns a
function from the image, bytes `(1, H, W, 3)`, RGB, to class ids, `(1, H, W)`. Libraries are
imported by those alone that need them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from fcn_keras.bench.peers.network import Forward
from fcn_keras.system.processor import cores
from fcn_keras.system.telemetry import keep_openvino_quiet

Run = Callable[[np.ndarray], object]


def load_saved_model(file: Path, forward: Forward) -> Run:
    from fcn_keras.inference.c_library.saved_model import open_model

    [version] = file.iterdir()
    model = open_model(version)
    return lambda image: model.run("segment", {"image": image})["class_ids"]


def load_keras(file: Path, forward: Forward) -> Run:
    import keras

    return _labelling(keras.models.load_model(file, compile=False))


def load_usual_keras(file: Path, forward: Forward) -> Run:
    from fcn_keras.bench.peers.usual_keras import set_weights, usual_keras

    weights = np.load(file.with_name("weights.npz"))
    model = usual_keras(
        forward.variant,
        forward.num_classes,
        forward.size,
        forward.width,
        forward.geometry,
        mean=weights["mean"].tolist(),
        std=float(weights["std"]),
    )
    set_weights(model, weights)
    return _labelling(model)


def _labelling(model):
    import tensorflow as tf

    label = tf.function(
        lambda image: tf.cast(tf.argmax(model(image, training=False), axis=-1), tf.uint8)
    )
    return lambda image: label(tf.constant(image)).numpy()


def load_torch(
    file: Path,
    forward: Forward,
    channels_last: bool = True,
    compile: bool = False,
    precision: str = "float32",
) -> Run:
    import torch

    from fcn_keras.bench.peers.usual_torch import FCN, set_weights

    torch.set_num_threads(cores())
    weights = np.load(file.with_name("weights.npz"))
    with torch.device("meta"):  # no random numbers for what is read
        model = FCN(forward.variant, forward.num_classes, forward.width, forward.geometry)
    model = model.to_empty(device="cpu").eval()
    set_weights(model, weights)
    model = model.to(getattr(torch, precision))
    # The preprocessing is in float32 always.
    model.mean = torch.from_numpy(weights["mean"])[:, None, None]
    model.std = float(weights["std"])
    if channels_last:
        model = model.to(memory_format=torch.channels_last)

    def label(image):
        return model(image).argmax(1).to(torch.uint8)

    if compile:
        label = torch.compile(label)

    def run(image):
        with torch.inference_mode():
            return label(torch.from_numpy(image)).numpy()

    return run


def load_onnxruntime(file: Path, forward: Forward) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0]


def load_openvino(file: Path, forward: Forward, precision: str = "f32") -> Run:
    keep_openvino_quiet()
    import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cores(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    network = openvino.Core().compile_model(file, "CPU", hints)
    chosen = network.get_property("INFERENCE_PRECISION_HINT").to_string()
    if chosen not in (precision, {"f32": "float", "bf16": "bfloat16"}.get(precision)):
        raise RuntimeError(f"OpenVINO computes in {chosen} on this processor.")
    return lambda image: network(image)[0]


def load_litert(file: Path, forward: Forward) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(file), num_threads=cores())
    [image], [class_ids] = network.get_input_details(), network.get_output_details()
    network.resize_tensor_input(image["index"], (1, *forward.size, 3))
    network.allocate_tensors()

    def run(pixels):
        network.set_tensor(image["index"], pixels)
        network.invoke()
        return network.get_tensor(class_ids["index"])

    return run


def load_opencv(file: Path, forward: Forward) -> Run:
    import cv2

    cv2.setNumThreads(cores())
    weights = np.load(file.with_name("weights.npz"))
    mean, std = weights["mean"].tolist(), float(weights["std"])
    network = cv2.dnn.readNetFromONNX(str(file))

    def run(image):
        network.setInput(cv2.dnn.blobFromImage(image[0], 1 / std, mean=mean, swapRB=True))
        return network.forward().argmax(axis=1).astype("uint8")

    return run


def load_tensorflow_product(file: Path, forward: Forward, precision: str = "float32") -> Run:
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((forward.matrix, forward.matrix)), precision)
    multiply = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0])
    return lambda image: multiply().numpy()


def load_numpy_product(file: Path, forward: Forward) -> Run:
    matrix = np.random.default_rng(0).standard_normal((forward.matrix,) * 2, "float32")
    return lambda image: matrix @ matrix


def load_copy(file: Path, forward: Forward) -> Run:
    # As many bytes as two matrices have: too many for any cache.
    source = np.ones((2, forward.matrix, forward.matrix), "float32")
    target = np.zeros_like(source)
    shares = (np.array_split(array.ravel(), cores()) for array in (target, source))
    parts = [*zip(*shares, strict=True)]
    pool = ThreadPoolExecutor(cores())
    return lambda image: [*pool.map(lambda part: np.copyto(*part), parts)]


LOADERS: dict[str, Callable[[Path, Forward], Run]] = {
    "ours": load_saved_model,
    "ours_bfloat16": load_saved_model,
    "ours_plain": load_saved_model,
    "ours_frozen": load_saved_model,
    "keras": load_keras,
    "usual_keras": load_usual_keras,
    "torch": partial(load_torch, channels_last=False),
    "torch_channels_last": load_torch,
    "torch_compile": partial(load_torch, compile=True),
    "torch_bfloat16": partial(load_torch, precision="bfloat16"),
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
    "openvino_bfloat16": partial(load_openvino, precision="bf16"),
    "litert": load_litert,
    "opencv": load_opencv,
    "product": load_tensorflow_product,
    "product_numpy": load_numpy_product,
    "product_bfloat16": partial(load_tensorflow_product, precision="bfloat16"),
    "copy": load_copy,
}
