"""What can be named on the command line, apart from the code behind it: listing takes no time."""

ALEXNET = "fcn-alexnet"
HHA = "fcn32s-hha"
COLOR_HHA = "fcn32s-color-hha"
VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", ALEXNET, HHA, COLOR_HHA)

# Data set -> the folder of its TFDS builder in `fcn_keras/data`, and which of its configurations.
DATASETS = {
    "shapes": ("shapes", None),
    "voc2011": ("pascal_voc", "2011"),
    "voc2012": ("pascal_voc", "2012"),
    "sbd": ("sbd", None),
    "voc2011_sbd": ("pascal_voc_sbd", "2011"),
    "voc2012_sbd": ("pascal_voc_sbd", "2012"),
    "nyudv2": ("nyudv2", "color"),
    "nyudv2/hha": ("nyudv2", "hha"),
    "nyudv2/color_hha": ("nyudv2", "color_hha"),
    "siftflow": ("sift_flow", None),
    "pascal_context": ("pascal_context", None),
}

# The embedded set's, anyone's own data, and the reference's experiments.
RECIPES = (
    "shapes",
    "folder",
    "small",
    "voc-fcn32s",
    "voc-fcn16s",
    "voc-fcn8s",
    "voc-fcn8s-atonce",
    "voc-fcn-alexnet",
    "voc-modern",
    "siftflow-fcn32s",
    "siftflow-fcn16s",
    "siftflow-fcn8s",
    "siftflow-modern",
    "nyud-fcn32s-color",
    "nyud-fcn32s-hha",
    "nyud-fcn32s-color-hha",
    "nyud-modern",
    "pascalcontext-fcn32s",
    "pascalcontext-fcn16s",
    "pascalcontext-fcn8s",
    "pascalcontext-modern",
)

# Of a network on a data set; fractions of 1.
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")

# How a training finds the other machines that take part.
CLUSTERS = ("none", "tf_config", "slurm")

# What `export` can write -> what the file's name ends in; a SavedModel is a folder.
FORMATS = {
    "savedmodel": "",
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "weights": ".weights.h5",
}

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)
