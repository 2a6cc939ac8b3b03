"""OpenVINO's files, and OpenVINO."""

from fcn_keras.errors import WriteError
from fcn_keras.exporters.tracing import as_graph, as_strings, image_spec


def write_openvino(model, path, about):
    import openvino

    # `model.export` leaves the output without a name.
    traced = as_graph(lambda image: {"score": model(image, training=False)}, image_spec(model))
    network = openvino.convert_model(traced)
    for name, text in as_strings(about).items():
        network.set_rt_info(text, name)
    try:
        openvino.save_model(network, path, compress_to_fp16=False)
    except RuntimeError as error:  # which does not tell why
        raise WriteError(
            f"{path.parent}: OpenVINO could not write to it ({error}). Is there room left?"
        ) from error


def run_openvino(path, model):
    import openvino

    # Where the processor can, OpenVINO computes in bfloat16 unless told otherwise.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(path, "CPU", exact)
    return lambda image: network(image)["score"]
