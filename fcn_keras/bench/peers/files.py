"""What the programs load, written to a folder that all share.

| file | what it is |
|---|---|
| `network.keras` | the network |
| `coarse.keras` | the same with large regions |
| `weights.npz` | its weights by layer: `conv1_1.kernel`, `conv1_1.bias`; `mean` and `std` |
| `image.npy` | the image |
| `saved_model..`, `..onnx`, `..xml`, `..tflite` | the network for programs that load neither |
"""

from functools import partial
from pathlib import Path

import keras
import numpy as np

from fcn_keras.bench.peers.network import Forward
from fcn_keras.exporters.runtimes import export_to_runtime
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.models.fcn import build
from fcn_keras.models.layers import preprocessing_of
from fcn_keras.system.files import written_whole
from fcn_keras.system.telemetry import keep_openvino_quiet


def write_file(name: str, folder: Path, forward: Forward):
    """Writes one of `FILES`, under another name until it is whole."""
    # A SavedModel appears whole by itself. OpenVINO's file is a pair, of which this is the second.
    if "." not in name or name.endswith(".xml"):
        return FILES[name](folder / name, forward)
    with written_whole(folder / name) as aside:
        FILES[name](aside, forward)


def write_network(file: Path, forward: Forward, finer: float = 1.0):
    """Writes the network, with random weights in its scores too, and an image to label.

    Args:
        file: where to write it.
        forward: what it is.
        finer: what the scores of finer maps count beside those of the coarsest. The fewer, the
            larger are the regions of one class: those of a trained network are no specks.
    """
    keras.utils.set_random_seed(0)
    model = _build(forward, weights=None)
    rng = np.random.default_rng(0)
    height, width = forward.size
    # Patches rather than noise, which every deep network takes for the same grey.
    patches = rng.integers(0, 256, (1, height // 20 + 1, width // 20 + 1, 3), "uint8")
    image = patches.repeat(20, axis=1).repeat(20, axis=2)[:, :height, :width]
    np.save(file.parent / "image.npy", image)
    _scatter_statistics(model, image, rng)
    scored = [layer for layer in model.layers if layer.name.startswith("score_")]
    for layer in scored:
        layer.kernel.assign(rng.standard_normal(layer.kernel.shape, "float32"))
    # Random scores differ by class more than by place, and one class would win everywhere.
    outputs = keras.Model(model.input, {layer.name: layer.output for layer in scored})(image)
    coarsest = min(output.shape[1] for output in outputs.values())
    for layer in scored:
        output = outputs[layer.name]
        mean, std = np.mean(output, axis=(0, 1, 2)), np.std(output, axis=(0, 1, 2))
        share = 1.0 if output.shape[1] == coarsest else finer
        layer.kernel.assign(share * layer.kernel / std)
        layer.bias.assign(-share * mean / std)
    model.save(file)
    weights = {
        f"{layer.name}.{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
    }
    mean, std = preprocessing_of(model)
    weights |= {"mean": np.array(mean, "float32"), "std": np.array(std, "float32")}
    np.savez(file.parent / "weights.npz", **weights)


def _scatter_statistics(model, image, rng):
    """Gives batch normalisation the statistics of an image, and random numbers about them.

    So no map vanishes, and what is computed with them is told from what is computed without.
    """
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(image, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        std = np.sqrt(norm.moving_variance)
        norm.moving_mean.assign_add(0.3 * std * rng.standard_normal(std.shape, "float32"))
        norm.moving_variance.assign(std**2 * rng.uniform(0.5, 2, std.shape))


def write_saved_model(file: Path, forward: Forward, elide_padding: bool = True, **options):
    model = _build(forward, file.with_name("network.keras"), elide_padding)
    export(model, file, *numbered_classes(forward.num_classes), **options)


def write_onnx(file: Path, forward: Forward):
    """Writes ONNX that ends in class ids, so that the runtime does all of the work."""
    import onnx

    scores = _export(file, forward, "onnx")
    proto = onnx.load(scores)
    proto.graph.node.extend(
        [
            onnx.helper.make_node("ArgMax", ["score"], ["index"], axis=-1, keepdims=0),
            onnx.helper.make_node("Cast", ["index"], ["class_ids"], to=onnx.TensorProto.UINT8),
        ]
    )
    ids = onnx.helper.make_tensor_value_info("class_ids", onnx.TensorProto.UINT8, [*"NHW"])
    del proto.graph.output[:]
    proto.graph.output.append(ids)
    onnx.save(proto, file)
    scores.unlink()


def write_openvino(file: Path, forward: Forward):
    """Writes OpenVINO's format, which ends in class ids too."""
    keep_openvino_quiet()
    import openvino
    from openvino import opset13

    network = openvino.Core().read_model(_export(file, forward, "openvino"))
    score = network.output("score").node.input_value(0)
    index = opset13.topk(score, 1, -1, "max", "none", "i32").output(1)
    ids = opset13.convert(opset13.squeeze(index, [-1]), "u8")
    network = openvino.Model([opset13.result(ids)], network.get_parameters(), "segment")
    openvino.save_model(network, file, compress_to_fp16=False)


def write_litert(file: Path, forward: Forward):
    """Writes LiteRT's format, which ends in class ids too."""
    import tensorflow as tf

    class ClassIds(keras.layers.Layer):
        def call(self, logits):
            return tf.argmax(logits, axis=-1, output_type=tf.int32)

    model = _build(forward, file.with_name("network.keras"))
    labelling = keras.Model(model.input, {"class_ids": ClassIds(dtype="float32")(model.output)})
    labelling.export(
        str(file),
        format="litert",
        verbose=False,
        input_signature=[keras.InputSpec("uint8", model.input_shape, name="image")],
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
    )


def write_usual_onnx(file: Path, forward: Forward):
    """Writes ONNX of the usual network, for programs that do not know how to repeat rows."""
    import onnx

    from fcn_keras.bench.peers.usual_onnx import usual_onnx

    weights = np.load(file.with_name("weights.npz"))
    network = usual_onnx(forward.variant, weights, forward.size, forward.width, forward.geometry)
    onnx.save(network, file)


FILES: dict = {
    "network.keras": write_network,
    "coarse.keras": partial(write_network, finer=0.1),
    "saved_model": write_saved_model,
    "saved_model_bfloat16": partial(write_saved_model, precision="bfloat16"),
    "saved_model_plain": partial(write_saved_model, elide_padding=False),
    "saved_model_frozen": partial(write_saved_model, freeze=True),
    "network.onnx": write_onnx,
    "network.xml": write_openvino,
    "network.tflite": write_litert,
    "usual.onnx": write_usual_onnx,
}


def _export(file, forward, format):
    """Writes a file that ends in scores, beside the one that is to be written; returns its path."""
    scores = file.with_name(f"score{file.suffix}")
    model = _build(forward, file.with_name("network.keras"))
    export_to_runtime(model, scores, format, *numbered_classes(forward.num_classes))
    return scores


def _build(forward, weights, elide_padding=True):
    return build(
        forward.variant,
        forward.num_classes,
        weights=weights,
        width=forward.width,
        backbone=forward.backbone,
        **forward.options(elide_padding),
    )
