"""The command `serve`."""

from argparse import Namespace

from fcn_keras.cli.arguments import port_number
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.errors import UserError

ARGUMENTS: Arguments = {
    "model": dict(
        metavar="RUN_OR_SAVEDMODEL",
        help="run directory, .keras file, hf://USER/NAME, or what export wrote",
    ),
    "--name": dict(help="what addresses call it (default: as the folder)"),
    "--host": dict(
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 for all of this machine's (default: 127.0.0.1)",
    ),
    "--http-port": dict(
        type=port_number, default=8501, metavar="N", help="0 for a free one; default: 8501"
    ),
}


def run(args: Namespace) -> None:
    try:
        from fcn_keras.serving.server import serve
    except ImportError as error:
        raise UserError(
            f'serve: needs KServe: pip install "fcn_keras[serve]". ({error})'
        ) from error
    serve(args.model, args.name, args.host, args.http_port, args.debug)


COMMAND = Command(run, ARGUMENTS)
