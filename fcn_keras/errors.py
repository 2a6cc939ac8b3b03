"""The exceptions that end a job with one clear line."""


class UserError(ValueError):
    """A mistake of the caller: one clear line, and exit code 2 on the command line.

    The message names what was wrong, what is allowed, what came, and what to do.
    Everything else that is raised counts as a fault of this package.
    """


class WriteError(OSError):
    """A file could not be written: one clear line, and exit code 1 on the command line."""


class ServerError(ConnectionError):
    """A server could not be reached, or failed: one clear line, and exit code 1."""


class MachineLost(ConnectionError):
    """Another machine of the same training could not be reached any more."""
