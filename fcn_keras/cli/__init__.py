"""The command line: arguments in, one call of a job. Nothing heavy is imported before it starts."""

from fcn_keras.cli.app import main

__all__ = ["main"]
