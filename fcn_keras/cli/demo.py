"""The command `demo`."""

from argparse import Namespace

from fcn_keras.cli.arguments import positive
from fcn_keras.cli.command import Arguments, Command

ARGUMENTS: Arguments = {
    "source": dict(
        metavar="RUN|MODEL|SAVEDMODEL|URL",
        help="run directory, .keras file, hf://USER/NAME, exported SavedModel, or a server's URL",
    ),
    "--host": dict(default="127.0.0.1", help="address to serve on (default: 127.0.0.1)"),
    "--port": dict(
        type=positive, default=7860, metavar="N", help="port to serve on (default: 7860)"
    ),
    "--classes": dict(
        metavar="FILE",
        help="names and colours, from a run, an export or a JSON file (default: the network's own; "
        "a server tells none)",
    ),
}


def run(args: Namespace) -> None:
    from fcn_keras.demo.page import demo

    demo(args.source, args.host, args.port, args.classes)


COMMAND = Command(run, ARGUMENTS)
