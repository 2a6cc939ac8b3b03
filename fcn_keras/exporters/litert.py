"""LiteRT's files, and LiteRT."""

import json
import zipfile

import keras
import tensorflow as tf


def write_litert(model, path, about):
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
        license = about.pop("license", None)
        archive.writestr("classes.json", json.dumps(about, indent=1) + "\n")
        if license:
            archive.writestr("license.txt", license.rstrip("\n") + "\n")


def run_litert(path, model):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner()
    return lambda image: run(image=image)["score"]
