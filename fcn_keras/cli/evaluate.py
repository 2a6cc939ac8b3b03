"""The command `evaluate`."""

import json
from argparse import Namespace
from contextlib import suppress

from fcn_keras.cli.arguments import JSON, MODEL, check_split, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.data.known_classes import VOC_CLASSES
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
    confusion, classes, what = _label_maps(args) if args.predictions else _network(args)
    from fcn_keras.evaluation.scores import named_scores, score_table

    scores = named_scores(confusion, classes)
    print(json.dumps(scores) if args.json else f"{what}:\n{score_table(scores)}")


def _network(args):
    if args.model is None or args.labels:
        raise UserError(
            "evaluate: needs RUN_OR_MODEL, or --predictions with --labels or --dataset."
        )
    _refuse(args, "--labels", "num_classes")
    from fcn_keras.evaluation.evaluate import evaluate
    from fcn_keras.inference.network import load_network
    from fcn_keras.inference.run_folder import dataset_of
    from fcn_keras.system.devices import make_strategy

    strategy = make_strategy(args.devices)
    with strategy.scope():
        network = load_network(args.model)
    settings = network.config.get("settings", {})
    name = args.dataset or dataset_of(network.config)
    if name is None:
        raise UserError("--dataset: needed, as the model does not lie in a run that tells it.")
    source = _source(args, network, name, settings.get("val_share"))
    dataset = source.dataset
    check_split(args.split, dataset.splits)
    network.check_dataset(dataset, args.model, name)
    source.check((args.split,))
    # In batches of another size sums are rounded otherwise, and a pixel in a million changes
    # sides: the run's own size gives its own figures again.
    batch_size = args.batch_size or settings.get("batch_size", 1)
    confusion = evaluate(
        network.full,
        dataset.splits[args.split],
        batch_size,
        strategy=strategy,
        heads=tuple(dataset.heads),
    )
    return confusion, dataset.heads or dataset.classes, f"{args.model} on {name}, {args.split}"


def _source(args, network, name, val_share):
    """The data set to score on; of the run's own folder, wherever it is now, the run's own split.

    By another share images would be scored that were trained on.
    """
    from fcn_keras.data.source import Source
    from fcn_keras.inference.run_folder import dataset_of
    from fcn_keras.system.spelling import same_path

    if not args.dataset or val_share is None:
        return Source(name, val_share, network.images)
    source = Source(name, None, network.images)
    try:
        own = dataset_of(network.config)  # None: a published one does not tell
        is_own = own is None or same_path(own, name)
    except UserError:  # it is not there any more: this one is in its place
        is_own = True
    images = network.config["dataset"].get("images", {}).values()
    is_own |= sum(images) == sum(map(len, source.dataset.splits.values()))  # a copy
    if is_own:
        with suppress(UserError):  # one that has got splits of its own keeps them
            return Source(name, val_share, network.images)
    return source


def _refuse(args, what_for, *names):
    """Refuses options that would do nothing."""
    for name in names:
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')}: is for {what_for} alone.")


def _label_maps(args):
    if args.model or bool(args.labels) == bool(args.dataset):
        raise UserError(
            "--predictions: are scored in place of a model's, against either --labels or --dataset."
        )
    _refuse(args, "a network", "batch_size", "devices")
    if args.dataset:
        _refuse(args, "--labels", "num_classes")
    from fcn_keras.data.source import Source
    from fcn_keras.evaluation.compare import compare_label_maps
    from fcn_keras.inference.classes import numbered_classes

    if args.labels:
        truth = args.labels
        classes, colors = numbered_classes(args.num_classes or len(VOC_CLASSES))
        if len(classes) == len(VOC_CLASSES):
            classes = VOC_CLASSES
    else:
        source = Source(args.dataset)
        dataset = source.dataset
        check_split(args.split, dataset.splits)
        source.check((args.split,))
        truth, classes, colors = dataset.splits[args.split], dataset.classes, dataset.colors
    return compare_label_maps(args.predictions, truth, colors), classes, args.predictions


COMMAND = Command(run, ARGUMENTS, keeps_memory=True)
