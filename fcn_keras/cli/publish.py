"""The command `publish`."""

from argparse import Namespace

from fcn_keras.cli.arguments import MODEL
from fcn_keras.cli.command import Arguments, Command

ARGUMENTS: Arguments = {
    "model": MODEL["model"] | dict(help="run directory or .keras file"),
    "target": dict(
        metavar="TARGET",
        help="hf://USER/NAME, which is made or gets a new version; or a folder that is not there",
    ),
    "--license": dict(
        metavar="ID", help="terms of use, as the hub calls them: apache-2.0, cc-by-4.0, other, .."
    ),
    "--private": dict(action="store_true", help="make the repository for its owner alone"),
    "--no-samples": dict(
        dest="samples", action="store_false", help="show no validation images on the card"
    ),
}


def run(args: Namespace) -> None:
    from fcn_keras.exporters.publish import publish

    print(publish(args.model, args.target, args.license, args.private, args.samples))


COMMAND = Command(run, ARGUMENTS)
