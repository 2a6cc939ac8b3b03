"""The commands `bench folder` and `bench serve`: what surrounds a network's forward pass."""

from argparse import SUPPRESS, Namespace
from collections.abc import Sequence
from importlib.util import find_spec

from fcn_keras.bench.results import told
from fcn_keras.cli.arguments import JSON, image_size, numbers_of, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.cli.settings import HELP
from fcn_keras.errors import UserError
from fcn_keras.models.backbones import BACKBONES
from fcn_keras.models.variants import VARIANTS

# The network that is made, which a --model is instead.
_MADE: Arguments = {
    "--variant": dict(choices=VARIANTS, default=SUPPRESS, help="default: fcn8s"),
    "--backbone": dict(choices=BACKBONES, default=SUPPRESS, metavar="NAME", help=HELP["backbone"]),
    "--width": dict(type=float, default=SUPPRESS, metavar="X", help="default: 1"),
    "--num-classes": dict(type=positive, default=SUPPRESS, metavar="N", help="default: 21"),
}

_PHOTOGRAPHS: Arguments = {
    **_MADE,
    "--model": dict(
        metavar="RUN_OR_MODEL",
        help="a run directory, .keras file or exported folder, instead of a network of random "
        "weights",
    ),
    "--size": dict(
        type=image_size,
        default=(375, 500),
        help="of the photographs that are made, height x width (default: 375x500)",
    ),
    "--images": dict(metavar="DIR", help="a folder of photographs instead of made ones"),
    "--count": dict(
        type=positive, default=200, metavar="N", help="photographs, at most (default: 200)"
    ),
    "--rounds": dict(
        type=positive, default=3, metavar="N", help="how often each has its turn (default: 3)"
    ),
    **JSON,
}

FOLDER_ARGUMENTS: Arguments = {
    **_PHOTOGRAPHS,
    "--batch-size": dict(
        type=positive, metavar="N", help="images in a batch (default: as predict and evaluate)"
    ),
}

SERVE_ARGUMENTS: Arguments = {
    **_PHOTOGRAPHS,
    "--clients": dict(
        type=numbers_of,
        default=(1, 4, 16),
        metavar="N,N,..",
        help="how many ask at a time (default: 1,4,16)",
    ),
    "--seconds": dict(
        type=float, default=5.0, metavar="X", help="for how long, in each round (default: 5)"
    ),
}


def run_folder(args: Namespace) -> None:
    from fcn_keras.bench.folder import bench_folder, results, table

    photographs = _photographs(args)
    _print(args, results(photographs, bench_folder(photographs, args.rounds)), table)


def run_serve(args: Namespace) -> None:
    from fcn_keras.bench.served import bench_serve, results, table

    clients = _whole(args.clients)
    if args.seconds <= 0:
        raise UserError(f"--seconds: must be above 0. Received: {args.seconds:g}.")
    if find_spec("kserve") is None:
        raise UserError('bench serve: needs KServe: pip install "fcn_keras[serve]".')
    photographs = _photographs(args)
    measured = bench_serve(photographs, clients, args.seconds, args.rounds)
    _print(args, results(photographs, *measured), table)


def _photographs(args):
    from fcn_keras.bench.folder import Photographs
    from fcn_keras.bench.peers.network import Forward

    names = [name.removeprefix("--").replace("-", "_") for name in _MADE]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    if args.model and given:
        name = next(iter(given)).replace("_", "-")
        raise UserError(f"--{name}: is for a network that is made. --model has its own.")
    batch_size = getattr(args, "batch_size", None)
    network = args.model or Forward(size=args.size, **given)
    return Photographs(network, args.size, args.images, args.count, batch_size)


def _whole(numbers: Sequence[float]) -> list[int]:
    if any(number < 1 or number != int(number) for number in numbers):
        raise UserError(f"--clients: must be numbers from 1 up. Received: {list(numbers)}.")
    return [int(number) for number in numbers]


def _print(args, figures, table):
    asked = figures["photographs"]
    network, size = asked["network"], "x".join(map(str, asked["size"]))
    if not args.model:
        network = "{variant} on {backbone}, width {width:g}, {num_classes} classes".format(
            **network
        )
    about = f"{network}; photographs {args.images or f'of {size}'}, at most {args.count}"
    print(told(figures, args.json, about, table))


FOLDER = Command(run_folder, FOLDER_ARGUMENTS)

SERVE = Command(run_serve, SERVE_ARGUMENTS)
