"""What can be written, and of which kinds."""

# What `export` can write -> what the file's name ends in; a SavedModel is a folder.
FORMATS = {
    "savedmodel": "",
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "weights": ".weights.h5",
}

PRECISIONS = ("float32", "bfloat16")

PROCESSORS = ("cpu", "gpu")

# Modules that come with the extra of a format's name.
NEEDED = {
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert",),
    "weights": (),
}
