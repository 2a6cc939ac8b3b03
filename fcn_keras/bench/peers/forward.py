"""The serving function in each program: `(1, H, W, 3)` RGB bytes in, `(1, H, W)` class ids out.

A process of its own for each, `python -m fcn_keras.bench.peers.forward`: it reads what to do as a
line of JSON, answers by a line when it has loaded and warmed up, and then by one for each line it
reads, which tells it to run once more. What is large lies in a folder that all share:

| file | what it is |
|---|---|
| `network.keras` | the network |
| `weights.npz` | its weights by layer: `conv1_1.kernel`, `conv1_1.bias`; `mean` and `std` |
| `image.npy` | the image |
| others | what programs load that do not load these, see `FILES` |
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_keras.system.telemetry import keep_openvino_quiet


def write_network(folder: Path, asked: dict):
    """Writes the network, with random weights in its scores too, and an image to label."""
    import keras

    from fcn_keras.models.fcn import build

    keras.utils.set_random_seed(0)
    options = {name: asked[name] for name in ("variant", "width", "geometry")}
    model = build(num_classes=asked["num_classes"], weights=None, **options)
    rng = np.random.default_rng(0)
    height, width = asked["size"]
    # Patches rather than noise, which every deep network takes for the same grey.
    patches = rng.integers(0, 256, (1, height // 20 + 1, width // 20 + 1, 3), "uint8")
    image = patches.repeat(20, axis=1).repeat(20, axis=2)[:, :height, :width]
    np.save(folder / "image.npy", image)
    scored = [layer for layer in model.layers if layer.name.startswith("score_")]
    for layer in scored:
        layer.kernel.assign(rng.standard_normal(layer.kernel.shape, "float32"))
    # Random scores differ by class more than by place, and one class would win everywhere.
    outputs = keras.Model(model.input, [layer.output for layer in scored])(image)
    for layer, output in zip(scored, outputs, strict=True):
        mean, std = np.mean(output, axis=(0, 1, 2)), np.std(output, axis=(0, 1, 2))
        layer.kernel.assign(layer.kernel / std)
        layer.bias.assign(-mean / std)
    model.save(folder / asked["file"])
    normalize = model.get_layer("normalize")
    np.savez(
        folder / "weights.npz",
        mean=np.ravel(normalize.mean),
        std=np.sqrt(np.ravel(normalize.variance)[0]),
        **{
            f"{layer.name}.{variable.name}": keras.ops.convert_to_numpy(variable)
            for layer in model.layers
            for variable in layer.weights
            if layer is not normalize
        },
    )


def write_saved_model(folder: Path, asked: dict, **options):
    from fcn_keras.exporters.saved_model import export

    model, about = _network(folder, asked)
    export(model, folder / asked["file"], **about, **options)


def write_plain_saved_model(folder: Path, asked: dict):
    """Writes the network with all of the paper's padding."""
    from fcn_keras.exporters.saved_model import export
    from fcn_keras.models.fcn import build

    options = {name: asked[name] for name in ("variant", "num_classes", "width", "geometry")}
    model = build(**options, weights=folder / "network.keras", elide_padding=False)
    export(model, folder / asked["file"], **_about(asked))


def write_onnx(folder: Path, asked: dict):
    """Writes ONNX that ends in class ids, so that the runtime does all of the work."""
    import onnx

    from fcn_keras.exporters.runtimes import export_to_runtime

    model, about = _network(folder, asked)
    export_to_runtime(model, folder / "score.onnx", "onnx", **about)
    proto = onnx.load(folder / "score.onnx")
    proto.graph.node.extend(
        [
            onnx.helper.make_node("ArgMax", ["score"], ["index"], axis=-1, keepdims=0),
            onnx.helper.make_node("Cast", ["index"], ["class_ids"], to=onnx.TensorProto.UINT8),
        ]
    )
    ids = onnx.helper.make_tensor_value_info("class_ids", onnx.TensorProto.UINT8, [*"NHW"])
    del proto.graph.output[:]
    proto.graph.output.append(ids)
    onnx.save(proto, folder / asked["file"])
    (folder / "score.onnx").unlink()


def write_openvino(folder: Path, asked: dict):
    """The same for OpenVINO."""
    keep_openvino_quiet()
    import openvino
    from openvino import opset13

    from fcn_keras.exporters.runtimes import export_to_runtime

    model, about = _network(folder, asked)
    export_to_runtime(model, folder / "score.xml", "openvino", **about)
    network = openvino.Core().read_model(folder / "score.xml")
    score = network.output("score").node.input_value(0)
    index = opset13.topk(score, 1, -1, "max", "none", "i32").output(1)
    ids = opset13.convert(opset13.squeeze(index, [-1]), "u8")
    network = openvino.Model([opset13.result(ids)], network.get_parameters(), "segment")
    openvino.save_model(network, folder / asked["file"], compress_to_fp16=False)


def write_usual_onnx(folder: Path, asked: dict):
    """Writes ONNX of the usual network, for programs that do not know how to repeat rows."""
    import onnx

    from fcn_keras.bench.peers.usual_onnx import usual_onnx

    options = {name: asked[name] for name in ("variant", "size", "width", "geometry")}
    proto = usual_onnx(weights=np.load(folder / "weights.npz"), **options)
    onnx.save(proto, folder / asked["file"])


FILES: dict[str, Callable] = {
    "network.keras": write_network,
    "saved_model": write_saved_model,
    "saved_model_bfloat16": lambda *args: write_saved_model(*args, precision="bfloat16"),
    "saved_model_plain": write_plain_saved_model,
    "saved_model_frozen": lambda *args: write_saved_model(*args, freeze=True),
    "network.onnx": write_onnx,
    "network.xml": write_openvino,
    "usual.onnx": write_usual_onnx,
}


def _network(folder, asked):
    import keras

    return keras.models.load_model(folder / "network.keras", compile=False), _about(asked)


def _about(asked):
    classes = [f"class_{i}" for i in range(asked["num_classes"])]
    return {"classes": classes, "colors": [(0, 0, 0)] * len(classes)}


def _usual_keras(folder, asked):
    from fcn_keras.bench.peers.usual_keras import set_weights, usual_keras

    weights = np.load(folder / "weights.npz")
    names = ("variant", "num_classes", "size", "width", "geometry")
    options = {name: asked[name] for name in names}
    model = usual_keras(**options, mean=weights["mean"].tolist(), std=float(weights["std"]))
    set_weights(model, weights)
    return model


def load_saved_model(folder, asked):
    from fcn_keras.inference.c_library.library import Model

    [version] = (folder / asked["file"]).iterdir()
    model = Model(version)
    return lambda image: model.run("segment", {"image": image})["class_ids"]


def load_keras(folder, asked):
    return _labelling(_network(folder, asked)[0])


def load_usual_keras(folder, asked):
    return _labelling(_usual_keras(folder, asked))


def _labelling(model):
    import tensorflow as tf

    label = tf.function(
        lambda image: tf.cast(tf.argmax(model(image, training=False), axis=-1), tf.uint8)
    )
    return lambda image: label(tf.constant(image)).numpy()


def load_torch(folder, asked, channels_last=False, compile=False, precision="float32"):
    import torch

    from fcn_keras.bench.peers.usual_torch import FCN, set_weights

    torch.set_num_threads(asked["cores"])
    weights = np.load(folder / "weights.npz")
    with torch.device("meta"):  # no random numbers for what is read
        model = FCN(*(asked[name] for name in ("variant", "num_classes", "width", "geometry")))
    model = model.to_empty(device="cpu").eval()
    model.mean.copy_(torch.from_numpy(weights["mean"])[:, None, None])
    model.std = float(weights["std"])
    set_weights(model, weights)
    if precision == "bfloat16":
        mean = model.mean
        model = model.to(torch.bfloat16)
        model.mean = mean
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


def load_onnxruntime(folder, asked):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = asked["cores"]
    file, providers = folder / asked["file"], ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file, options, providers)
    return lambda image: session.run(None, {"image": image})[0]


def load_openvino(folder, asked, precision="f32"):
    keep_openvino_quiet()
    import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": asked["cores"],
        "PERFORMANCE_HINT": "LATENCY",
    }
    network = openvino.Core().compile_model(folder / asked["file"], "CPU", hints)
    found = network.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found not in (precision, {"f32": "float", "bf16": "bfloat16"}.get(precision)):
        raise RuntimeError(f"OpenVINO computes in {found} on this processor.")
    return lambda image: network(image)[0]


def load_opencv(folder, asked):
    import cv2

    cv2.setNumThreads(asked["cores"])
    weights = np.load(folder / "weights.npz")
    mean, std = weights["mean"].tolist(), float(weights["std"])
    network = cv2.dnn.readNetFromONNX(str(folder / asked["file"]))

    def run(image):
        network.setInput(cv2.dnn.blobFromImage(image[0], 1 / std, mean=mean, swapRB=True))
        return network.forward().argmax(axis=1).astype("uint8")

    return run


def load_tensorflow_product(folder, asked, precision="float32"):
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((asked["matrix"], asked["matrix"])), precision)
    multiply = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0])
    return lambda image: multiply().numpy()


def load_numpy_product(folder, asked):
    matrix = np.random.default_rng(0).standard_normal((asked["matrix"],) * 2, "float32")
    return lambda image: matrix @ matrix


def load_copy(folder, asked):
    from concurrent.futures import ThreadPoolExecutor

    # As many bytes as two matrices have: too many for any cache.
    source = np.ones((2, asked["matrix"], asked["matrix"]), "float32")
    target = np.zeros_like(source)
    parts = (np.array_split(array.ravel(), asked["cores"]) for array in (target, source))
    parts = [*zip(*parts, strict=True)]
    pool = ThreadPoolExecutor(asked["cores"])
    return lambda image: [*pool.map(lambda part: np.copyto(*part), parts)]


class Peer(NamedTuple):
    """A program that runs the network, or says what the machine can do.

    Attributes:
        title: what it is called in tables.
        load: makes a function that runs once.
        file: what it loads, one of `FILES`.
        precision: what it computes in.
        elided: whether its network leaves out what is known of the padding; None: runs none.
        options: of `load`.
        module: a module that it cannot do without.
    """

    title: str
    load: Callable
    file: str = "network.keras"
    precision: str = "float32"
    elided: bool | None = False
    options: dict = {}
    module: str | None = None


_NHWC, _BFLOAT16 = {"channels_last": True}, {"precision": "bfloat16"}

PEERS = {
    "ours": Peer("fcn_keras, SavedModel in C++", load_saved_model, "saved_model", elided=True),
    "ours_bfloat16": Peer(
        "fcn_keras, SavedModel in C++, bfloat16",
        load_saved_model,
        "saved_model_bfloat16",
        "bfloat16",
        True,
    ),
    "ours_plain": Peer(
        "fcn_keras, SavedModel in C++, no elision", load_saved_model, "saved_model_plain"
    ),
    "ours_frozen": Peer(
        "fcn_keras, SavedModel in C++, frozen", load_saved_model, "saved_model_frozen", elided=True
    ),
    "keras": Peer("fcn_keras in Keras", load_keras, elided=True),
    "usual_keras": Peer("Keras, the usual way", load_usual_keras),
    "torch": Peer("PyTorch", load_torch, module="torch"),
    "torch_channels_last": Peer(
        "PyTorch, channels last", load_torch, options=_NHWC, module="torch"
    ),
    "torch_compile": Peer(
        "PyTorch, compiled", load_torch, options=_NHWC | {"compile": True}, module="torch"
    ),
    "torch_bfloat16": Peer(
        "PyTorch, channels last, bfloat16",
        load_torch,
        precision="bfloat16",
        options=_NHWC | _BFLOAT16,
        module="torch",
    ),
    "onnxruntime": Peer(
        "ONNX Runtime", load_onnxruntime, "network.onnx", elided=True, module="onnxruntime"
    ),
    "openvino": Peer("OpenVINO", load_openvino, "network.xml", elided=True, module="openvino"),
    "openvino_bfloat16": Peer(
        "OpenVINO, bfloat16",
        load_openvino,
        "network.xml",
        "bfloat16",
        True,
        {"precision": "bf16"},
        "openvino",
    ),
    "opencv": Peer("OpenCV", load_opencv, "usual.onnx", module="cv2"),
    "product": Peer("matrix product, TensorFlow", load_tensorflow_product, elided=None),
    "product_numpy": Peer("matrix product, NumPy", load_numpy_product, elided=None),
    "product_bfloat16": Peer(
        "matrix product, TensorFlow, bfloat16",
        load_tensorflow_product,
        precision="bfloat16",
        elided=None,
        options=_BFLOAT16,
    ),
    "copy": Peer("copying memory", load_copy, elided=None),
}


def _write(folder, asked):
    """Writes a file of `FILES`, under another name until it is whole."""
    from fcn_keras.system.files import written_whole

    name = asked["write"]
    # A SavedModel appears whole by itself. OpenVINO's file is a pair, of which this is the second.
    if "." not in name or name.endswith(".xml"):
        return FILES[name](folder, asked | {"file": name})
    with written_whole(folder / name) as aside:
        FILES[name](folder, asked | {"file": aside.name})


def _serve(asked, answer):
    """Loads a peer, and runs it once for each line that comes in."""
    folder, peer = Path(asked["folder"]), PEERS[asked["peer"]]
    image = np.load(folder / "image.npy")
    started = time.perf_counter()
    run = peer.load(folder, asked | {"file": peer.file}, **peer.options)
    loaded = time.perf_counter()
    output = run(image)
    first = time.perf_counter()
    if peer.elided is not None:
        np.save(folder / f"{asked['peer']}.npy", output)
    run(image)
    answer({"load": loaded - started, "first": first - loaded} | resident())
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run(image)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        answer({"seconds": wall, "cpu_seconds": cpu} | resident())


def resident() -> dict:
    """Returns the bytes that are resident, and were at most.

    `fcn_keras.system.memory` would bring TensorFlow along.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return {"resident": None, "peak": None}
    found = dict(re.findall(r"(VmRSS|VmHWM):\s*(\d+)", status.read_text()))
    return {"resident": 1024 * int(found["VmRSS"]), "peak": 1024 * int(found["VmHWM"])}


def _main():
    # What libraries print goes to standard error; the channel is kept for answers.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    if "write" in asked:
        _write(Path(asked["folder"]), asked)
        print(json.dumps({}), file=channel)
    else:
        _serve(asked, lambda found: print(json.dumps(found), file=channel))


if __name__ == "__main__":
    _main()
