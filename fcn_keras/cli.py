"""The command line: arguments in, a job done. Nothing heavy is imported before a job starts."""

import argparse
import json
import os
import sys
import tempfile
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import fields

from fcn_keras.errors import UserError
from fcn_keras.names import DATASETS, RECIPES
from fcn_keras.recipes import resolve
from fcn_keras.settings import CHOICES, Settings

SETTINGS_HELP = {
    "variant": "network (default: fcn8s)",
    "dataset": f"{', '.join(DATASETS)}, or a folder of images and masks (default: shapes)",
    "weights": "imagenet, none, or the path of a .keras, .weights.h5 or VGG16 .h5 file",
    "init_from": "run or .keras file whose layers are copied where name and shape agree",
    "geometry": "paper: padded by 100 pixels as published; same: cheaper",
    "width": "factor on the channels; 1 is VGG16",
    "dropout": "rate behind fc6 and fc7",
    "learn_upsampling": "whether the transposed convolutions learn",
    "epochs": "how often each image is seen",
    "steps": "train on that many batches, whatever --epochs says",
    "batch_size": "images in a batch, over all devices",
    "crop_size": "size of training crops: 256, or 256x320 (height x width)",
    "flip": "whether half of the images are mirrored",
    "scale_min": "lower end of the random zoom",
    "scale_max": "upper end of the random zoom",
    "color": "strength of random changes of colour",
    "class_weights": "weight rare classes more",
    "normalization": "what the summed loss is divided by",
    "optimizer": "update rule",
    "learning_rate": "highest learning rate",
    "momentum": "of sgd",
    "weight_decay": "of adamw",
    "schedule": "course of the learning rate",
    "warmup": "share of all steps over which the learning rate rises",
    "precision": "dtype policy",
    "validate_every": "epochs from one validation to the next",
    "seed": "of everything drawn",
    "deterministic": "use only operations with one possible result",
}


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line."""

    def error(self, message):
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(command: str | None = None) -> int:
    """Runs the command that the process was called with.

    Args:
        command: the command, for a program that has only this one.

    Returns:
        The exit code: 0 done, 2 the caller's mistake, 1 a fault of this package, 130 stopped
        by Ctrl-C.
    """
    args = _parser(command).parse_args()
    try:
        with _quiet(args.debug):
            args.run(args)
        return 0
    except KeyboardInterrupt:
        message, code = args.stopped, 130
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        if isinstance(error, UserError):
            message, code = f"error: {error}", 2
        else:
            message = f"fault: {type(error).__name__}: {error} (--debug shows where)"
            code = 1
    print(message, file=sys.stderr)
    return code


def train(args):
    given = {
        field.name: getattr(args, field.name)
        for field in fields(Settings)
        if field.name != "recipe" and getattr(args, field.name) is not None
    }
    settings = resolve(args.recipe, **given)
    from fcn_keras.training import train

    train(settings, args.run_dir, args.devices, args.fresh)


def evaluate(args):
    from fcn_keras.data import load_dataset
    from fcn_keras.devices import make_strategy
    from fcn_keras.evaluation import as_json, evaluate, load_network, score_table

    strategy = make_strategy(args.devices)
    with strategy.scope():
        network = load_network(args.model)
    name = args.dataset or network.config.get("settings", {}).get("dataset")
    if name is None:
        raise UserError("--dataset: needed, as the model does not lie in a run that tells it.")
    dataset = load_dataset(name)
    if args.split not in dataset.splits:
        raise UserError(
            f"--split: must be one of {', '.join(dataset.splits)}. Received: {args.split!r}."
        )
    if dataset.num_classes != len(network.classes):
        raise UserError(
            f"{args.model} tells {len(network.classes)} classes apart, but {name} has "
            f"{dataset.num_classes}."
        )
    confusion = evaluate(
        network.model, dataset.splits[args.split], args.batch_size, strategy=strategy
    )
    scores = as_json(confusion, dataset.classes)
    if args.json:
        print(json.dumps(scores))
    else:
        print(f"{args.model} on {dataset.name}, {args.split}:\n{score_table(scores)}")


def predict(args):
    from fcn_keras.evaluation import load_network
    from fcn_keras.prediction import find_images, predict

    images = find_images(args.images)
    network = load_network(args.model)
    written = predict(network.model, images, args.output, network.classes, network.colors)
    print(f"{len(written)} label maps with pictures in {args.output}")


def export(args):
    from fcn_keras.evaluation import load_network
    from fcn_keras.serving import check_target, export

    check_target(args.output, args.version)
    network = load_network(args.model)
    target = export(network.model, args.output, network.classes, network.colors, args.version)
    print(f"SavedModel in {target}")


def convert(args):
    from fcn_keras.conversion import convert, list_weights

    if args.list:
        shapes = list_weights(args.model)
        if args.json:
            print(json.dumps(shapes))
        else:
            for name, layer in shapes.items():
                print(f"{name:16}", "  ".join("x".join(map(str, shape)) for shape in layer))
    elif args.output is None:
        raise UserError("OUT: the file to write is missing (or use --list).")
    else:
        print(convert(args.model, args.output))


def _parser(only):
    parser = Parser(description="Fully Convolutional Networks for semantic segmentation.")
    if sys.argv[0].endswith("__main__.py"):
        parser.prog = "python -m fcn_keras"
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(run, text, stopped="stopped"):
        sub = commands.add_parser(run.__name__, help=text, description=text)
        sub.set_defaults(run=run, stopped=stopped)
        sub.add_argument("--debug", action="store_true", help="show tracebacks and all messages")
        return sub

    sub = command(
        train,
        "Train a network; the same command goes on where it was stopped.",
        "stopped; the same command goes on after the last complete epoch",
    )
    _add_settings(sub)
    sub.add_argument(
        "--run-dir", metavar="DIR", help="where to write (default: runs/DATASET-VARIANT)"
    )
    sub.add_argument(
        "--devices", metavar="LIST", help="gpu:0,gpu:1 or cpu:2 (default: all GPUs, else one CPU)"
    )
    sub.add_argument("--fresh", action="store_true", help="delete an existing run first")

    model = dict(metavar="RUN_OR_MODEL", help="run directory or .keras file")
    sub = command(evaluate, "Score a network on a data set.")
    sub.add_argument("model", **model)
    sub.add_argument("--dataset", metavar="NAME_OR_DIR", help="default: the run's own")
    sub.add_argument("--split", default="val", help="default: val")
    sub.add_argument("--batch-size", type=_positive, default=1, metavar="N", help="default: 1")
    sub.add_argument("--devices", metavar="LIST", help="as for train")
    sub.add_argument("--json", action="store_true", help="print one JSON object")

    sub = command(predict, "Write label maps and pictures for images.")
    sub.add_argument("model", **model)
    sub.add_argument("images", metavar="IMAGE_OR_DIR", nargs="+", help="image files or folders")
    sub.add_argument("--output", metavar="DIR", required=True, help="folder to write to")

    sub = command(export, "Write a SavedModel for TensorFlow Serving.")
    sub.add_argument("model", **model)
    sub.add_argument("output", metavar="OUT", help="folder that the server watches")
    sub.add_argument(
        "--version",
        type=lambda text: None if text == "next" else _positive(text),
        default=1,
        metavar="N",
        help="folder in OUT: a number, or 'next' for one above the highest (default: 1)",
    )

    sub = command(convert, "Turn a network into a .weights.h5 file, or list its weights.")
    sub.add_argument("model", metavar="IN", help="run directory or .keras file")
    sub.add_argument("output", metavar="OUT", nargs="?", help=".weights.h5 file to write")
    sub.add_argument("--list", action="store_true", help="list layers and shapes instead")
    sub.add_argument("--json", action="store_true", help="list them as one JSON object")
    if only is None:
        return parser
    sub = commands.choices[only]
    sub.prog = parser.prog
    return sub


def _add_settings(parser):
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"settings to start from: {', '.join(RECIPES)} (default: the data set's own)",
    )
    types = {int: int, float: float, tuple[int, int]: _size}
    for field in fields(Settings):
        if field.name == "recipe":
            continue
        options = {"default": None, "help": SETTINGS_HELP[field.name]}
        if field.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif field.name in CHOICES:
            options["choices"] = CHOICES[field.name]
        else:
            options["type"] = types.get(field.type, str)
            options["metavar"] = {int: "N", float: "X"}.get(field.type, field.name.upper())
        parser.add_argument(f"--{field.name.replace('_', '-')}", **options)


def _positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1 up. Received: {text!r}")
    return int(text)


def _size(text):
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise argparse.ArgumentTypeError(f"must be like 256 or 256x320. Received: {text!r}")
    return int(sides[0]), int(sides[-1])


@contextmanager
def _quiet(debug):
    """Keeps TensorFlow from printing banners and warnings that a user can do nothing about."""
    if debug:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import_tensorflow_silently()
        yield


def _import_tensorflow_silently():
    """Imports TensorFlow, whose C++ code prints banners at import that no setting silences."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    import absl.logging

    tf.get_logger().setLevel("ERROR")
    absl.logging.set_verbosity(absl.logging.ERROR)
