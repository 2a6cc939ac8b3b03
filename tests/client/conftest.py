"""What tests of clients share: an exported network, files, and the right answers."""

from helpers.served import files, network, right  # noqa: F401
