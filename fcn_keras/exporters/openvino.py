"""OpenVINO's files, and OpenVINO."""

from pathlib import Path

import keras

from fcn_keras.errors import WriteError
from fcn_keras.exporters.formats import Metadata, Run
from fcn_keras.exporters.networks import as_graph
from fcn_keras.system.telemetry import keep_openvino_quiet

keep_openvino_quiet()


def write(model: keras.Model, path: Path, metadata: Metadata) -> None:
    import openvino

    # `model.export` leaves the output without a name.
    network = openvino.convert_model(
        as_graph(model, lambda image: {"score": model(image, training=False)})
    )
    for name, text in metadata.texts().items():
        network.set_rt_info(text, name)
    try:
        openvino.save_model(network, path, compress_to_fp16=False)
    except RuntimeError as error:  # which does not tell why
        raise WriteError(
            f"{path.parent}: OpenVINO could not write to it ({error}). Is there room left?"
        ) from error


def run(path: Path, model: keras.Model) -> Run:
    import openvino

    # Where the processor can, OpenVINO computes in bfloat16 unless told otherwise.
    network = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: network(image)["score"]
