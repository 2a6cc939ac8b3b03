"""Trains a network: `python train.py --variant fcn8s`. See `--help`."""

import sys

from fcn_keras.cli import main

if __name__ == "__main__":
    sys.exit(main("train"))
