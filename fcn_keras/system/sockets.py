"""Sockets that servers listen at."""

import socket

from fcn_keras.errors import UserError


def listen(host: str, port: int, option: str) -> socket.socket:
    """Opens a socket for a server.

    Args:
        host: address to listen at; `"0.0.0.0"` for all of this machine's.
        port: 0 for any that is free.
        option: what the port is called on the command line.

    Raises:
        UserError: if that is impossible; says why.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"{option}: must be from 0 up to 65535. Received: {port}.")
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        # Python adds the address to the system's words.
        why = str(error.strerror).partition(" (while")[0]
        raise UserError(
            f"{option}: {host}:{port} cannot be listened at: {why}. Choose another with {option} "
            "or --host."
        ) from error
