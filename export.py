"""Writes a SavedModel: `python export.py RUN_OR_MODEL OUT`. See `--help`."""

import sys

from fcn_keras.cli import main

if __name__ == "__main__":
    sys.exit(main("export"))
