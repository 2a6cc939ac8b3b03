"""`bench`, and what it measures."""

import json
from argparse import SUPPRESS
from dataclasses import replace

from fcn_keras.cli.arguments import JSON, figure_file, image_size, positive
from fcn_keras.cli.command import Arguments, Command, Commands, Section
from fcn_keras.cli.settings import HELP
from fcn_keras.errors import UserError
from fcn_keras.models.architecture import GEOMETRIES, OUTPUT_STRIDES
from fcn_keras.models.variants import COLOR_HHA, VARIANTS
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.settings import CHOICES

_INPUT: Arguments = {
    "--dataset": dict(default="shapes", metavar="NAME_OR_DIR", help="default: shapes"),
    "--recipe": dict(default="small", metavar="NAME", help="default: small"),
    "--seconds": dict(type=float, default=5, metavar="X", help="for each figure (default: 5)"),
    **JSON,
}

_ELIDE = dict(dest="elide_padding", action="store_false", help="compute all of the paper's padding")

_CHANGES: Arguments = {
    "--precision": dict(choices=CHOICES["precision"], help=HELP["precision"], default=SUPPRESS),
    "--accumulate": dict(type=positive, metavar="N", help=HELP["accumulate"], default=SUPPRESS),
    "--remat": dict(action="store_true", help=HELP["remat"], default=SUPPRESS),
    "--no-elide": _ELIDE | dict(default=SUPPRESS),
}

_PEERS: Arguments = {
    "--geometry": dict(choices=GEOMETRIES, default="paper", help="default: paper"),
    "--peers": dict(
        metavar="NAME,NAME,..",
        help="what to measure beside our export: ours_plain, ours_bfloat16, keras, "
        "usual_keras, torch, torch_channels_last, torch_compile, torch_bfloat16, "
        "onnxruntime, openvino, openvino_bfloat16, opencv (default: all)",
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

_COST: Arguments = {
    "--variant": dict(
        choices=[variant for variant in VARIANTS if variant != COLOR_HHA],
        default="fcn8s",
        help="default: fcn8s",
    ),
    "--size": dict(type=image_size, default=(500, 500), help="height x width (default: 500x500)"),
    "--num-classes": dict(type=positive, default=21, metavar="N", help="default: 21"),
    "--width": dict(type=float, default=1.0, metavar="X", help="default: 1"),
    "--geometry": dict(choices=GEOMETRIES, default="paper", help=HELP["geometry"]),
    "--output-stride": dict(type=int, choices=OUTPUT_STRIDES, default=32, help="default: 32"),
    "--learn-upsampling": dict(action="store_true", help="the transposed convolutions learn"),
    "--no-elide": _ELIDE,
    **JSON,
}


def _network(side: int, rounds: int, what: str) -> Arguments:
    """What is measured: a network, its image, and how often."""
    return {
        "--variant": dict(choices=VARIANTS, default="fcn8s", help="default: fcn8s"),
        "--width": dict(type=float, default=1.0, metavar="X", help="default: 1"),
        "--size": dict(
            type=image_size,
            default=(side, side),
            help=f"of the images, height x width (default: {side}x{side})",
        ),
        "--num-classes": dict(type=positive, default=21, metavar="N", help="default: 21"),
        "--batch-size": dict(type=positive, default=1, metavar="N", help="default: 1"),
        "--rounds": dict(
            type=positive, default=rounds, metavar="N", help=f"{what} (default: {rounds})"
        ),
        **JSON,
    }


def _input(args):
    from fcn_keras.bench.input import bench_input
    from fcn_keras.data.registry import load_dataset

    settings = resolve(args.recipe, dataset=args.dataset)
    rates = bench_input(load_dataset(args.dataset), settings, args.seconds)
    if args.json:
        print(json.dumps(rates))
    else:
        for name, rate in rates.items():
            print(f"{name:16} {rate:9.1f} images/s")


def _train(args):
    from fcn_keras.bench.machine import about
    from fcn_keras.bench.steps import (
        as_json,
        bench_training,
        peers_to_compare,
        steps_to_compare,
        table,
    )

    first = _step(args)
    changes = {
        name: getattr(args, name)
        for name in ("precision", "accumulate", "remat", "elide_padding")
        if hasattr(args, name)
    }
    if args.peers and changes:
        raise UserError("--peers: cannot be given together with settings.")
    several = peers_to_compare if args.peers else steps_to_compare
    steps = [first, replace(first, **changes)] if changes else several(first)
    rows = as_json(bench_training(steps, args.rounds, args.steps))
    if args.json:
        print(json.dumps(about() | {"rows": rows}))
    else:
        print(_bench_head(args), table(rows), sep="\n")


def _forward(args):
    from fcn_keras.bench.forward import as_json, bench_forward, draw, table
    from fcn_keras.bench.machine import about

    forward = _measured(args)
    rows = bench_forward(forward, _peers(args), args.rounds, args.folder)
    found = as_json(forward, rows)
    if args.figure:
        draw(found, args.figure)
    if args.json:
        print(json.dumps(about() | found))
    else:
        print(_bench_head(args), table(found), sep="\n")


def _start(args):
    from fcn_keras.bench.machine import about
    from fcn_keras.bench.start import as_table, bench_start

    found = bench_start(_step(args), args.rounds)
    if args.json:
        print(json.dumps(about() | found))
    else:
        print(_bench_head(args), as_table(found), sep="\n")


def _report(args):
    from fcn_keras.bench.report import bench_report

    found = bench_report(args.output, _measured(args), _peers(args), args.rounds, args.folder)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"{args.output}, with figures in JSON and a picture beside it")


def _measured(args):
    from fcn_keras.bench.forward import Forward

    return Forward(args.variant, args.width, args.size, args.geometry, args.num_classes)


def _peers(args):
    from fcn_keras.bench.forward import default_peers

    names = args.peers.split(",") if args.peers else default_peers()
    return names + ["ours_frozen"] * args.freeze


def _metrics(args):
    from fcn_keras.bench.machine import about
    from fcn_keras.bench.metrics import bench_metrics

    found = bench_metrics(_step(args), args.rounds)
    if args.json:
        print(json.dumps(about() | found))
        return
    print(_bench_head(args))
    for name, figure in found.items():
        if name == "share":
            print(f"{name:16} {100 * figure:9.3f} % of the step (update and result)")
        else:
            print(f"{name:16} {figure:9.3f} ms")


def _cost(args):
    from fcn_keras.models.cost import cost, table

    options = dict(
        geometry=args.geometry,
        output_stride=args.output_stride,
        width=args.width,
        learn_upsampling=args.learn_upsampling,
        elide_padding=args.elide_padding,
    )
    found = cost(args.variant, args.size, args.num_classes, **options)
    if args.json:
        asked = dict(variant=args.variant, size=args.size, num_classes=args.num_classes)
        print(json.dumps(asked | options | found.as_json()))
    else:
        print(table(found))


def _step(args):
    from fcn_keras.bench.steps import Step

    return Step(args.variant, args.width, args.size, args.num_classes, args.batch_size)


def _bench_head(args):
    from fcn_keras.bench.machine import about

    found = about()
    machine, versions = found["machine"], found["versions"]
    size = "x".join(map(str, args.size))
    return (
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores; "
        f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}\n"
        f"{args.variant}, width {args.width:g}, {size}, {args.num_classes} classes"
    )


COMMAND = Commands(
    "Measure how fast parts of a training are here.",
    {
        "input": Command("Images a second: decoding, augmenting, batching.", _input, _INPUT),
        "train": Command(
            "Seconds and memory of a training step: of float32 beside other settings.",
            _train,
            {
                **_network(320, 2, "processes for each setting, in turns"),
                "--steps": dict(
                    type=positive,
                    default=2,
                    metavar="N",
                    help="in each process, beside the first (default: 2)",
                ),
                "--peers": dict(
                    action="store_true",
                    help="compare with PyTorch and with Keras without this package instead",
                ),
            },
            (
                Section(
                    "settings",
                    _CHANGES,
                    "Without any of these, all are measured one after the other. With some, "
                    "float32 is compared with these together.",
                ),
            ),
        ),
        "forward": Command(
            "Seconds and memory of labelling an image: our export beside other programs.",
            _forward,
            {
                **_network(500, 7, "how often each program runs, in turns"),
                **_PEERS,
                "--figure": dict(type=figure_file, metavar="FILE", help="draw the seconds"),
            },
        ),
        "start": Command(
            "Seconds that commands take to start, and predict in parts.",
            _start,
            _network(500, 3, "how often each command runs, in turns"),
        ),
        "report": Command(
            "Compare inference, training and starting with others, and write it all down.",
            _report,
            {
                "output": dict(
                    metavar="FILE.md", help="document to write; .json and .png appear beside it"
                ),
                **_network(500, 7, "of inference; a third of them for training and starting"),
                **_PEERS,
            },
        ),
        "metrics": Command(
            "What the scores cost beside a training step.",
            _metrics,
            _network(500, 5, "how often each is measured, in turns"),
        ),
        "cost": Command(
            "FLOPs, bytes and parameters of each layer, by arithmetic: nothing is run.",
            _cost,
            _COST,
            tensorflow=False,
        ),
    },
)
