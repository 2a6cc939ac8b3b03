"""The command `bench quality`."""

import json
from argparse import Namespace
from dataclasses import fields

from fcn_keras.bench.peers.programs import METHODS
from fcn_keras.cli.arguments import JSON, names_of, positive, whole_numbers
from fcn_keras.cli.command import Arguments, Command

ARGUMENTS: Arguments = {
    "dataset": dict(metavar="DATASET", help="registered name or folder"),
    "--weights": dict(
        default="imagenet",
        metavar="FILE",
        help="Keras' weights of MobileNetV2, which all start from (default: imagenet)",
    ),
    "--methods": dict(
        type=names_of,
        default=METHODS,
        metavar="NAME,NAME,..",
        help=f"what to train (default: {','.join(METHODS)})",
    ),
    "--seeds": dict(type=whole_numbers, default=(0, 1, 2), metavar="N,N,..", help="default: 0,1,2"),
    "--epochs": dict(type=positive, metavar="N", help="default: the steps of `light`"),
    "--target": dict(
        type=float, default=0.65, metavar="X", help="mean IU to wait for (default: 0.65)"
    ),
    "--until-target": dict(action="store_true", help="end each training when it has the target"),
    "--validate-every": dict(
        type=positive, default=1, metavar="N", help="epochs, whose time is not counted (default: 1)"
    ),
    "--peer-loss": dict(
        choices=("cross_entropy", "recipe"),
        default="cross_entropy",
        help="what the others are trained with: cross-entropy, or the loss of `light`, with "
        "their own Dice (default: cross_entropy)",
    ),
    "--output": dict(
        required=True,
        metavar="FILE.md",
        help="document to write; quality.json and quality.png appear beside it",
    ),
    "--folder": dict(
        metavar="DIR",
        help="where the trainings are kept; the same command goes on there (default: FILE-runs)",
    ),
    **JSON,
}


def run(args: Namespace) -> None:
    from fcn_keras.bench.quality import Quality
    from fcn_keras.bench.quality_report import quality_report, table

    asked = Quality(**{field.name: getattr(args, field.name) for field in fields(Quality)})
    report = quality_report(args.output, asked, args.folder)
    print(json.dumps(report) if args.json else table(report))


COMMAND = Command(
    run,
    ARGUMENTS,
    stopped="stopped; the same command goes on after the last training that is done",
)
