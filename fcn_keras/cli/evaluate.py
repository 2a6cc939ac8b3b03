"""`evaluate`."""

import json
from argparse import Namespace

from fcn_keras.cli.arguments import JSON, MODEL, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.data.folders.voc_devkit import VOC_CLASSES
from fcn_keras.errors import UserError

ARGUMENTS: Arguments = {
    "model": MODEL["model"] | dict(nargs="?"),
    "--predictions": dict(
        metavar="DIR",
        help="score these label maps instead: palette or grey PNGs, or pictures in class colours",
    ),
    "--labels": dict(metavar="DIR", help="true label maps of the same names (or give --dataset)"),
    "--num-classes": dict(type=positive, metavar="N", help="with --labels (default: VOC's 21)"),
    "--dataset": dict(metavar="NAME_OR_DIR", help="default: the run's own"),
    "--split": dict(default="val", help="default: val"),
    "--batch-size": dict(type=positive, metavar="N", help="default: the run's own, else 1"),
    "--devices": dict(metavar="LIST", help="as for train"),
    **JSON,
}


def run(args: Namespace) -> None:
    if args.predictions:
        return _evaluate_predictions(args)
    if args.model is None or args.labels:
        raise UserError(
            "evaluate: needs RUN_OR_MODEL, or --predictions with --labels or --dataset."
        )
    from fcn_keras.evaluation.evaluate import evaluate
    from fcn_keras.inference.network import load_network
    from fcn_keras.system.devices import make_strategy

    strategy = make_strategy(args.devices)
    with strategy.scope():
        network = load_network(args.model)
    settings = network.config.get("settings", {})
    name = args.dataset or settings.get("dataset")
    # In batches of another size sums are rounded otherwise, and a pixel in a million changes
    # sides: the run's own size gives its own figures again.
    batch_size = args.batch_size or settings.get("batch_size", 1)
    if name is None:
        raise UserError("--dataset: needed, as the model does not lie in a run that tells it.")
    dataset, split = _dataset_and_split(name, args.split)
    if dataset.num_classes != len(network.classes):
        raise UserError(
            f"{args.model} tells {len(network.classes)} classes apart, but {name} has "
            f"{dataset.num_classes}."
        )
    if {*dataset.heads} != {*network.heads}:
        maps, there = (
            f"the label maps {', '.join(heads)}" if heads else "one label map"
            for heads in (network.heads, dataset.heads)
        )
        raise UserError(f"{args.model} scores {maps}, and {name} has {there}.")
    confusion = evaluate(
        network.full, split, batch_size, strategy=strategy, heads=tuple(dataset.heads)
    )
    classes = dataset.heads or dataset.classes
    _print_scores(args, confusion, classes, f"{args.model} on {name}, {args.split}")


def _evaluate_predictions(args):
    if args.model or bool(args.labels) == bool(args.dataset):
        raise UserError(
            "--predictions: are scored in place of a model's, against either --labels or --dataset."
        )
    from fcn_keras.evaluation.compare import compare
    from fcn_keras.inference.classes import numbered_classes

    if args.labels:
        truth = args.labels
        classes, colors = numbered_classes(args.num_classes or len(VOC_CLASSES))
        if len(classes) == len(VOC_CLASSES):
            classes = VOC_CLASSES
    else:
        dataset, truth = _dataset_and_split(args.dataset, args.split)
        classes, colors = dataset.classes, dataset.colors
    confusion = compare(args.predictions, truth, colors)
    _print_scores(args, confusion, classes, args.predictions)


def _dataset_and_split(name, split):
    from fcn_keras.data.registry import load_dataset

    dataset = load_dataset(name)
    if split not in dataset.splits:
        raise UserError(
            f"--split: must be one of {', '.join(dataset.splits)}. Received: {split!r}."
        )
    return dataset, dataset.splits[split]


def _print_scores(args, confusion, classes, what):
    from fcn_keras.evaluation.scores import as_json, score_table

    scores = as_json(confusion, classes)
    print(json.dumps(scores) if args.json else f"{what}:\n{score_table(scores)}")


COMMAND = Command(run, ARGUMENTS)
