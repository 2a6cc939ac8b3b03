"""The paper's networks as Caffe defines them: deploy files and random weights.

A second account of the layers, independent of the package's: written down from the reference's
prototxt files (shelhamer/fcn.berkeleyvision.org, `*/train.prototxt`), sizes and crop offsets
typed in as they stand there.
"""

from dataclasses import dataclass, field
from math import prod, sqrt
from pathlib import Path

import numpy as np

# BGR, `solve.py` and the data layers of the reference.
MEAN = (104.00699, 116.66877, 122.67892)


@dataclass(frozen=True)
class Layer:
    """A layer of a prototxt: what it is called, what it reads, and its parameters."""

    name: str
    type: str
    bottoms: tuple[str, ...] = ()  # without any: the layer above
    param: str = ""  # the message that holds the settings
    settings: dict = field(default_factory=dict)
    channels: int | str | None = None  # a number, to be scaled by width, or "classes"
    in_place: bool = False


def conv(name, channels, kernel, stride=1, pad=0, group=1):
    """A convolution and its ReLU."""
    settings = {"kernel_size": kernel, "stride": stride, "pad": pad, "group": group}
    relu = Layer(f"relu{name.removeprefix('conv').removeprefix('fc')}", "ReLU", in_place=True)
    return Layer(name, "Convolution", (), "convolution_param", settings, channels), relu


def pool(name, kernel, stride):
    settings = {"pool": "MAX", "kernel_size": kernel, "stride": stride}
    return (Layer(name, "Pooling", (), "pooling_param", settings),)


def lrn(name):
    settings = {"local_size": 5, "alpha": 0.0001, "beta": 0.75}
    return (Layer(name, "LRN", (), "lrn_param", settings),)


def drop(name):
    return (Layer(name, "Dropout", (), "dropout_param", {"dropout_ratio": 0.5}, in_place=True),)


def score(name, bottom):
    settings = {"kernel_size": 1, "stride": 1, "pad": 0, "group": 1}
    return Layer(name, "Convolution", (bottom,), "convolution_param", settings, "classes")


def deconv(name, bottom, kernel, stride):
    settings = {"kernel_size": kernel, "stride": stride, "bias_term": "false"}
    return Layer(name, "Deconvolution", (bottom,), "convolution_param", settings, "classes")


def crop(name, bottom, like, offset):
    return Layer(name, "Crop", (bottom, like), "crop_param", {"axis": 2, "offset": offset})


def add(name, *bottoms):
    return Layer(name, "Eltwise", bottoms, "eltwise_param", {"operation": "SUM"})


def scale(name, bottom, factor):
    return Layer(name, "Scale", (bottom,), "scale_param", {"axis": 1, "#factor": factor})


VGG16 = [
    *conv("conv1_1", 64, 3, pad=100),
    *conv("conv1_2", 64, 3, pad=1),
    *pool("pool1", 2, 2),
    *conv("conv2_1", 128, 3, pad=1),
    *conv("conv2_2", 128, 3, pad=1),
    *pool("pool2", 2, 2),
    *conv("conv3_1", 256, 3, pad=1),
    *conv("conv3_2", 256, 3, pad=1),
    *conv("conv3_3", 256, 3, pad=1),
    *pool("pool3", 2, 2),
    *conv("conv4_1", 512, 3, pad=1),
    *conv("conv4_2", 512, 3, pad=1),
    *conv("conv4_3", 512, 3, pad=1),
    *pool("pool4", 2, 2),
    *conv("conv5_1", 512, 3, pad=1),
    *conv("conv5_2", 512, 3, pad=1),
    *conv("conv5_3", 512, 3, pad=1),
    *pool("pool5", 2, 2),
    *conv("fc6", 4096, 7),
    *drop("drop6"),
    *conv("fc7", 4096, 1),
    *drop("drop7"),
    score("score_fr", "fc7"),
]

ALEXNET = [
    *conv("conv1", 96, 11, stride=4, pad=100),
    *pool("pool1", 3, 2),
    *lrn("norm1"),
    *conv("conv2", 256, 5, pad=2, group=2),
    *pool("pool2", 3, 2),
    *lrn("norm2"),
    *conv("conv3", 384, 3, pad=1),
    *conv("conv4", 384, 3, pad=1, group=2),
    *conv("conv5", 256, 3, pad=1, group=2),
    *pool("pool5", 3, 2),
    *conv("fc6", 4096, 6),
    *drop("drop6"),
    *conv("fc7", 4096, 1),
    *drop("drop7"),
    score("score_fr", "fc7"),
]


def fuse_pool4(bottom):
    return [
        deconv("upscore2", "score_fr", 4, 2),
        score("score_pool4", bottom),
        crop("score_pool4c", "score_pool4", "upscore2", 5),
        add("fuse_pool4", "upscore2", "score_pool4c"),
    ]


def fuse_pool3(bottom):
    return [
        deconv("upscore_pool4", "fuse_pool4", 4, 2),
        score("score_pool3", bottom),
        crop("score_pool3c", "score_pool3", "upscore_pool4", 9),
        add("fuse_pool3", "upscore_pool4", "score_pool3c"),
        deconv("upscore8", "fuse_pool3", 16, 8),
        crop("score", "upscore8", "data", 31),
    ]


NETS = {
    "fcn32s": [
        *VGG16,
        deconv("upscore", "score_fr", 64, 32),
        crop("score", "upscore", "data", 19),
    ],
    "fcn16s": [
        *VGG16,
        *fuse_pool4("pool4"),
        deconv("upscore16", "fuse_pool4", 32, 16),
        crop("score", "upscore16", "data", 27),
    ],
    "fcn8s": [*VGG16, *fuse_pool4("pool4"), *fuse_pool3("pool3")],
    "fcn8s-atonce": [
        *VGG16,
        scale("scale_pool4", "pool4", 0.01),
        *fuse_pool4("scale_pool4"),
        scale("scale_pool3", "pool3", 0.0001),
        *fuse_pool3("scale_pool3"),
    ],
    "fcn-alexnet": [
        *ALEXNET,
        deconv("upscore", "score_fr", 63, 32),
        crop("score", "upscore", "data", 18),
    ],
}


# On colours and depth, joined before the first layer (`nyud-fcn32s-color-d`).
WITH_DEPTH = {
    "fcn32s-color-d": [
        *conv("conv1_1_bgrd", 64, 3, pad=100),
        *VGG16[2:],
        deconv("upscore", "score_fr", 64, 32),
        crop("score", "upscore", "data", 19),
    ],
}
LOG_DEPTH_MEAN = 7.844

ALL = NETS | WITH_DEPTH


def deploy(variant, num_classes, width, size):
    """The definition of a network for images of one size (height, width), as a prototxt."""
    texts = [
        'layer { name: "data" type: "Input" top: "data" '
        f"input_param {{ shape {{ dim: 1 dim: {_channels_of_data(variant)} "
        f"dim: {size[0]} dim: {size[1]} }} }} }}"
    ]
    above = "data"
    for layer in ALL[variant]:
        bottoms = layer.bottoms or (above,)
        top = above if layer.in_place else layer.name
        settings = {k: v for k, v in layer.settings.items() if not k.startswith("#")}
        if layer.channels:
            settings["num_output"] = _channels(variant, layer.channels, num_classes, width)
        text = f'name: "{layer.name}" type: "{layer.type}" '
        text += "".join(f'bottom: "{bottom}" ' for bottom in bottoms) + f'top: "{top}"'
        if settings:
            text += f" {layer.param} {{ "
            text += " ".join(f"{k}: {v}" for k, v in settings.items()) + " }"
        texts.append(f"layer {{ {text} }}")
        above = top
    return "\n".join([f'name: "{variant}"', *texts, ""])


def random_blobs(variant, num_classes, width, seed):
    """Random weights with which every layer, branch and border shows in the scores.

    Layer by layer the numbers keep one order of magnitude: that of the image (about 64) as far
    as FCN-AlexNet's normalisations, which do next to nothing to numbers of order one, and one
    elsewhere. Kernels that read a skip scaled down make up for it. The kernels that upsample
    are random and mix the classes, unlike bilinear ones, which would hide transposition.

    Returns:
        A dict, in the order of the network: layer name -> (its type, list of float32 arrays).
    """
    # The generator that NumPy promises to keep as it is.
    rng = np.random.RandomState(seed)

    def uniform(shape, std):
        array = np.empty(shape, "float32")
        for part in array:  # a part at a time: fc6 in float64 would take 800 MB
            part[...] = rng.uniform(-sqrt(3) * std, sqrt(3) * std, part.shape)
        return array

    alexnet = variant == "fcn-alexnet"
    channels, magnitude = {"data": _channels_of_data(variant)}, {"data": 64.0}
    blobs = {}
    above = "data"
    for layer in ALL[variant]:
        bottom = (layer.bottoms or (above,))[0]
        above = bottom if layer.in_place else layer.name
        channels[above], magnitude[above] = channels[bottom], magnitude[bottom]
        if layer.type == "Scale":
            factor = layer.settings["#factor"]
            magnitude[above] *= factor
            blobs[layer.name] = layer.type, [np.full(channels[bottom], factor, "float32")]
        if not layer.channels:
            continue
        inputs, kernel = channels[bottom], layer.settings["kernel_size"]
        outputs = _channels(variant, layer.channels, num_classes, width)
        channels[above] = outputs
        magnitude[above] = 64.0 if alexnet and layer.name.startswith("conv") else 1.0
        gain = magnitude[above] / magnitude[bottom]
        if layer.type == "Deconvolution":
            taps = inputs * (kernel / layer.settings["stride"]) ** 2
            weight = uniform((inputs, outputs, kernel, kernel), gain / sqrt(taps))
            blobs[layer.name] = layer.type, [weight]
        else:
            shape = (outputs, inputs // layer.settings["group"], kernel, kernel)
            # He: a ReLU halves the power.
            power = 1 if layer.channels == "classes" else 2
            weight = uniform(shape, gain * sqrt(power / prod(shape[1:])))
            bias = uniform((outputs, 1), 0.3 * magnitude[above])[:, 0]
            blobs[layer.name] = layer.type, [weight, bias]
    return blobs


def _channels_of_data(variant):
    return 4 if variant in WITH_DEPTH else 3


def _channels(variant, channels, num_classes, width):
    if channels == "classes":
        return num_classes
    if variant == "fcn-alexnet":
        return max(2, 2 * round(channels * width / 2))
    return max(1, round(channels * width))


def run_opencv(prototxt, model, data):
    """Runs a definition with OpenCV's DNN module, which reads Caffe's files by code of its own.

    Args:
        prototxt: text of the definition.
        model: path of the `.caffemodel`; the text is put beside it, for OpenCV to read.
        data: `(1, channels, H, W)`, what goes into `data`.

    Returns:
        What the last layer makes of it, float32 `(1, channels, h, w)`.
    """
    import cv2  # here, so that the rest is of use without it

    text = Path(model).with_suffix(".prototxt")
    text.write_text(prototxt)
    net = cv2.dnn.readNetFromCaffe(str(text), str(model))
    # Winograd's convolution is quicker, and a few digits poorer.
    net.enableWinograd(False)
    net.setInput(np.ascontiguousarray(data, "float32"))
    return net.forward()


def opencv_scores(variant, num_classes, width, model, image):
    """Scores of an image by OpenCV: `(H, W, 3)` RGB bytes to `(H, W, num_classes)`.

    Where a network wants it, there is a depth of at least a millimetre behind the colours.
    """
    prototxt = deploy(variant, num_classes, width, image.shape[:2])
    data = image[..., 2::-1].astype("float32") - np.float32(MEAN)
    if variant in WITH_DEPTH:
        depth = np.log(image[..., 3:].astype("float64")) - LOG_DEPTH_MEAN
        data = np.concatenate([data, depth.astype("float32")], axis=-1)
    return run_opencv(prototxt, model, data.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
