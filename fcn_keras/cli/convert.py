"""The command `convert`."""

import json
from argparse import Namespace

from fcn_keras.cli.arguments import numbers_of, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.cli.settings import HELP
from fcn_keras.errors import UserError
from fcn_keras.models.variants import VARIANTS

ARGUMENTS: Arguments = {
    "model": dict(
        metavar="IN",
        help="run directory, .keras file or hf://USER/NAME; or published weights: .caffemodel, "
        ".pth, .npz, or fcn8s-heavy-pascal, which is fetched",
    ),
    "output": dict(metavar="OUT", nargs="?", help="file to write"),
    "--list": dict(action="store_true", help="list layers and shapes instead"),
    "--json": dict(action="store_true", help="list them as one JSON object"),
    "--variant": dict(choices=VARIANTS, help="what published weights are for"),
    "--num-classes": dict(
        type=positive, metavar="N", help="of published weights (default: theirs)"
    ),
    "--width": dict(type=float, metavar="X", help="of published weights (default: theirs)"),
    "--input-mean": dict(type=numbers_of, metavar="B,G,R", help=HELP["input_mean"]),
}


def run(args: Namespace) -> None:
    from fcn_keras.exporters.convert import convert, list_weights

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
        options = {
            name: getattr(args, name) for name in ("variant", "num_classes", "width", "input_mean")
        }
        print(convert(args.model, args.output, **options))


COMMAND = Command(run, ARGUMENTS)
