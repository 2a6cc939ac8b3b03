"""The settings of a training as arguments."""

from argparse import SUPPRESS, BooleanOptionalAction
from dataclasses import fields
from typing import Any

from fcn_keras.cli.arguments import crop_size, numbers_of
from fcn_keras.cli.command import Arguments
from fcn_keras.data.catalog import DATASETS
from fcn_keras.training.settings import CHOICES, Settings

# What each setting is; the recipe is no setting to change, but where the others come from.
HELP = {
    "variant": "network (default: fcn8s)",
    "dataset": f"{', '.join(DATASETS)}, or a folder of images and masks (default: shapes)",
    "val_share": "share of a folder without splits to validate on (default: 0.2)",
    "channels": "images of a folder have N channels, with their numbers as stored: TIFF, .npy, PNG "
    "(default: RGB photographs)",
    "backbone": "classifier that the network is built on, as keras.applications has it "
    "(default: vgg16)",
    "weights": "imagenet, none, fcn8s-heavy-pascal (fetched), hf://USER/NAME, or the path of a "
    ".keras, .weights.h5, .h5 (the classifier's, as Keras keeps it), .caffemodel, .pth or .npz "
    "file",
    "init_from": "run, .keras file or hf://USER/NAME whose layers are copied where name and shape "
    "agree",
    "geometry": "paper: padded by 100 pixels as published; same: cheaper",
    "output_stride": "stride of the coarsest scores; below 32 the trunk is dilated (fcn32s)",
    "width": "factor on the channels; 1 is VGG16, or MobileNet",
    "dropout": "rate behind fc6 and fc7, or the coarsest map",
    "upsampling": "bilinear; learned: transposed convolutions that start so; nonlinear: stacks of "
    "them with ReLUs (default: bilinear)",
    "learn_upsampling": "older name of --upsampling learned",
    "input_mean": "what to subtract from blue, green, red: B,G,R (default: as the weights say)",
    "epochs": "how often each image is seen",
    "steps": "train for that many steps, of --accumulate batches each, in place of --epochs",
    "batch_size": "images in a batch, over all devices",
    "crop_size": "size of training crops: 256, 256x320 (height x width), or none: whole images",
    "replacement": "draw each image from the whole set, as the reference does",
    "flip": "whether half of the images are mirrored",
    "scale_min": "lower end of the random zoom",
    "scale_max": "upper end of the random zoom",
    "color": "strength of random changes of colour",
    "class_crops": "share of crops that are centred on a pixel of a class, drawn evenly",
    "vertical_flip": "whether half of the images are turned upside down",
    "rotation": "by how many degrees crops are turned at most, either way",
    "blur": "up to how many pixels half of the images are blurred (a standard deviation)",
    "loss": "cross_entropy, dice, focal, lovasz, ohem, or several: cross_entropy+0.5*dice",
    "label_smoothing": "share of each pixel that is spread over all classes, for cross_entropy",
    "class_weights": "none, sqrt_median_frequency: rare classes weigh more, or weights of classes: "
    "pole=3,sign=2",
    "normalization": "what the summed loss is divided by, of cross_entropy and focal",
    "optimizer": "update rule",
    "learning_rate": "highest learning rate",
    "momentum": "of sgd and caffe_sgd",
    "weight_decay": "of adamw and caffe_sgd",
    "clip_norm": "length to cut the gradient of each variable to; 0 for none",
    "accumulate": "batches that make one step",
    "remat": "compute the first blocks' activations twice, to save memory",
    "batch_norm": "frozen: as it was pre-trained; synced: learned from whole batches, over all "
    "devices (default: by whether weights are pre-trained)",
    "schedule": "course of the learning rate",
    "warmup": "share of all steps over which the learning rate rises, of cosine and poly",
    "freeze": "layers that do not learn: trunk, conv1_1..pool3 (two layers and all between), or a "
    "regular expression",
    "freeze_epochs": "for how many epochs they do not; 0 for all",
    "head_learning_rate_factor": "how many times as fast as the trunk the scores and upsampling "
    "learn",
    "ema": "momentum of a moving average of the weights, which is kept in their place: 0.999",
    "precision": "dtype policy",
    "validate_every": "epochs from one validation to the next",
    "patience": "end after that many validations in a row without a better mean IU; 0 for never",
    "seed": "of everything drawn",
    "deterministic": "use only operations with one possible result",
}

# Type of a setting -> how it is read, and what stands for its value in the help text.
_KINDS: dict[Any, dict[str, Any]] = {
    bool: dict(action=BooleanOptionalAction),
    bool | None: dict(action=BooleanOptionalAction),
    int: dict(type=int, metavar="N"),
    int | None: dict(type=int, metavar="N"),
    float: dict(type=float, metavar="X"),
    float | None: dict(type=float, metavar="X"),
    str: {},
    tuple[int, int] | None: dict(type=crop_size),
    tuple[float, ...] | None: dict(type=numbers_of),
}


def setting_arguments() -> Arguments:
    """Returns an argument for each setting but the recipe, without a default."""
    arguments = {}
    for field in fields(Settings):
        if field.name == "recipe":
            continue
        kind: Any = field.type
        options = dict(default=SUPPRESS, help=HELP[field.name], **_KINDS[kind])
        if field.name in CHOICES:
            many = len(CHOICES[field.name]) > 10
            options |= dict(choices=CHOICES[field.name], metavar="NAME" if many else None)
        arguments[f"--{field.name.replace('_', '-')}"] = options
    return arguments
