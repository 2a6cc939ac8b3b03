"""Which versions run here, of what decides results."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions(*more: str) -> dict[str, str | None]:
    """Returns which versions run here, of Python, of what decides results, and of `more` packages.

    Those that are not installed are None.
    """
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in ("fcn_keras", "tensorflow", "keras", "tensorflow-datasets", "numpy", *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_commit():
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8").stdout.strip() or None
    except OSError:
        return None
