"""OpenVINO's files, and OpenVINO."""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

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
    _save(network, path, metadata)


def write_int8(
    model: keras.Model, whole: Path, path: Path, metadata: Metadata, images: Iterable[np.ndarray]
) -> None:
    import nncf
    import openvino

    nncf.set_log_level("ERROR")
    shown = [image[None] for image in images]
    network = nncf.quantize(
        openvino.Core().read_model(whole),
        nncf.Dataset(shown),
        # Values that are never negative have all 8 bits for what is above 0.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(shown),
    )
    _save(network, path, metadata)


def _save(network, path, metadata):
    import openvino

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
