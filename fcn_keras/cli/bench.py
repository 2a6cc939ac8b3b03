"""The commands `bench input`, `bench train` and so on: how fast this package is here."""

import json
from argparse import SUPPRESS, Namespace
from dataclasses import replace

from fcn_keras.bench.peers.programs import default_peers
from fcn_keras.bench.results import told
from fcn_keras.cli import bench_cost, bench_growth, bench_quality
from fcn_keras.cli.arguments import JSON, figure_file, image_size, positive
from fcn_keras.cli.bench_folder import FOLDER, SERVE
from fcn_keras.cli.command import Arguments, Command, Commands, Section
from fcn_keras.cli.settings import HELP
from fcn_keras.errors import UserError
from fcn_keras.models.architecture import GEOMETRIES
from fcn_keras.models.backbones import BACKBONES, VGG16
from fcn_keras.models.variants import VARIANTS
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.settings import CHOICES

_VARIANT = dict(choices=VARIANTS, default="fcn8s", help="default: fcn8s")
_BACKBONE = dict(choices=BACKBONES, default=VGG16, metavar="NAME", help=HELP["backbone"])
_WIDTH = dict(type=float, default=1.0, metavar="X", help="default: 1")
_NUM_CLASSES = dict(type=positive, default=21, metavar="N", help="default: 21")
_GEOMETRY = dict(choices=GEOMETRIES, default="paper", help="default: paper")
_NO_ELIDE = dict(
    dest="elide_padding", action="store_false", help="compute all of the paper's padding"
)


def _network(side: int, rounds: int, what: str) -> Arguments:
    """What is measured: a network and its image; and how often."""
    return {
        "--variant": _VARIANT,
        "--width": _WIDTH,
        "--size": dict(
            type=image_size,
            default=(side, side),
            help=f"of the images, height x width (default: {side}x{side})",
        ),
        "--num-classes": _NUM_CLASSES,
        "--batch-size": dict(type=positive, default=1, metavar="N", help="default: 1"),
        "--rounds": dict(
            type=positive, default=rounds, metavar="N", help=f"{what} (default: {rounds})"
        ),
        **JSON,
    }


_INPUT: Arguments = {
    "--dataset": dict(default="shapes", metavar="NAME_OR_DIR", help="default: shapes"),
    "--recipe": dict(default="small", metavar="NAME", help="default: small"),
    "--seconds": dict(type=float, default=5, metavar="X", help="for each figure (default: 5)"),
    **JSON,
}

_TRAIN: Arguments = {
    **_network(320, 2, "processes for each setting, in turns"),
    "--backbone": _BACKBONE,
    "--steps": dict(
        type=positive,
        default=2,
        metavar="N",
        help="in each process, beside the first (default: 2)",
    ),
    "--peers": dict(
        action="store_true",
        help="compare with PyTorch and with Keras without this package instead; on mobilenet_v2 "
        "with networks of segmentation_models_pytorch",
    ),
}

_SETTINGS = Section(
    "settings",
    "Without any of these, all are measured one after the other. With some, float32 is compared "
    "with these together.",
    {
        "--precision": dict(choices=CHOICES["precision"], default=SUPPRESS, help=HELP["precision"]),
        "--accumulate": dict(type=positive, default=SUPPRESS, metavar="N", help=HELP["accumulate"]),
        "--remat": dict(action="store_true", default=SUPPRESS, help=HELP["remat"]),
        "--freeze": dict(default=SUPPRESS, metavar="WHICH", help=HELP["freeze"]),
        "--no-elide": _NO_ELIDE | dict(default=SUPPRESS),
    },
)

_PEERS: Arguments = {
    "--geometry": _GEOMETRY,
    "--peers": dict(
        metavar="NAME,NAME,..",
        help="what to measure beside our export: "
        f"{', '.join(name for name in default_peers() if name != 'ours')} (default: all); litert, "
        "which takes minutes for VGG16",
    ),
    "--freeze": dict(
        action="store_true",
        help="measure our export with its weights as constants too, which takes some 33 times "
        "their size in memory to write",
    ),
    "--folder": dict(
        metavar="DIR",
        help="where to keep the files of all programs for the next time: 4 GB at full width",
    ),
}

_FORWARD: Arguments = {
    **_network(500, 7, "how often each program runs, in turns"),
    "--backbone": _BACKBONE,
    **_PEERS,
    "--figure": dict(type=figure_file, metavar="FILE", help="draw the seconds"),
}

_REPORT: Arguments = {
    "output": dict(metavar="FILE.md", help="document to write; .json and .png appear beside it"),
    **_network(500, 7, "of inference; a third of them for training and starting"),
    **_PEERS,
}


def _input(args: Namespace) -> None:
    from fcn_keras.bench.input import bench_input, table
    from fcn_keras.data.registry import load_dataset

    settings = resolve(args.recipe, dataset=args.dataset)
    rates = bench_input(load_dataset(args.dataset), settings, args.seconds)
    print(json.dumps(rates) if args.json else table(rates))


def _train(args: Namespace) -> None:
    from fcn_keras.bench.steps import (
        bench_training,
        peers_to_compare,
        results,
        steps_to_compare,
        table,
    )

    first = _step(args)
    names = ("precision", "accumulate", "remat", "elide_padding", "freeze")
    changes = {name: getattr(args, name) for name in names if hasattr(args, name)}
    if args.peers and changes:
        raise UserError("--peers: cannot be given together with settings.")
    several = peers_to_compare if args.peers else steps_to_compare
    steps = [first, replace(first, **changes)] if changes else several(first)
    _print(args, results(bench_training(steps, args.rounds, args.steps)), table)


def _forward(args: Namespace) -> None:
    from fcn_keras.bench.forward import bench_forward, draw, results, table

    network = _labelled(args)
    measured = results(network, bench_forward(network, _peers(args), args.rounds, args.folder))
    if args.figure:
        draw(measured, args.figure)
    _print(args, measured, table)


def _start(args: Namespace) -> None:
    from fcn_keras.bench.start import bench_start, table

    _print(args, bench_start(_step(args), args.rounds), table)


def _report(args: Namespace) -> None:
    from fcn_keras.bench.report import bench_report

    figures = bench_report(args.output, _labelled(args), _peers(args), args.rounds, args.folder)
    print(
        json.dumps(figures)
        if args.json
        else f"{args.output}, with figures in JSON and a picture beside it"
    )


def _metrics(args: Namespace) -> None:
    from fcn_keras.bench.metrics import bench_metrics, table

    _print(args, bench_metrics(_step(args), args.rounds), table)


def _step(args):
    from fcn_keras.bench.steps import Step

    return Step(
        args.variant,
        args.width,
        args.size,
        args.num_classes,
        args.batch_size,
        backbone=_backbone(args),
    )


def _labelled(args):
    from fcn_keras.bench.peers.network import Forward

    return Forward(
        args.variant,
        args.width,
        args.size,
        args.geometry,
        args.num_classes,
        backbone=_backbone(args),
    )


def _backbone(args):
    return getattr(args, "backbone", VGG16)


def _peers(args):
    names = args.peers.split(",") if args.peers else default_peers(_backbone(args))
    return names + ["ours_frozen"] * args.freeze


def _print(args: Namespace, figures: dict, table) -> None:
    size = "x".join(map(str, args.size))
    on = "" if _backbone(args) == VGG16 else f" on {args.backbone}"
    about = f"{args.variant}{on}, width {args.width:g}, {size}, {args.num_classes} classes"
    print(told(figures, args.json, about, table))


COMMAND = Commands(
    {
        "input": (
            "Images a second: decoding, augmenting, batching.",
            Command(_input, _INPUT),
        ),
        "train": (
            "Seconds and memory of a training step: of float32 beside other settings.",
            Command(_train, _TRAIN, _SETTINGS),
        ),
        "forward": (
            "Seconds and memory of labelling an image: our export beside other programs.",
            Command(_forward, _FORWARD),
        ),
        "folder": (
            "Images a second of predict and evaluate, beside the bare forward pass.",
            FOLDER,
        ),
        "serve": (
            "Requests a second of serve, and how long clients wait.",
            SERVE,
        ),
        "start": (
            "Seconds that commands take to start, and predict in parts.",
            Command(_start, _network(500, 3, "how often each command runs, in turns")),
        ),
        "report": (
            "Compare inference, training and starting with others, and write it all down.",
            Command(_report, _REPORT),
        ),
        "quality": (
            "Validation scores by seconds of training: the recipe `light` beside others.",
            bench_quality.COMMAND,
        ),
        "metrics": (
            "What the scores cost beside a training step.",
            Command(_metrics, _network(500, 5, "how often each is measured, in turns")),
        ),
        "growth": (
            "Seconds and memory by size, each as a curve beside the line that it should be.",
            bench_growth.COMMAND,
        ),
        "cost": (
            "FLOPs, bytes and parameters of each layer: nothing is run.",
            bench_cost.COMMAND,
        ),
    }
)
