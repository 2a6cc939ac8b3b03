"""The exceptions that end a job with one clear line."""


class UserError(ValueError):
    """A mistake of the caller: one clear line, and exit code 2 on the command line.

    The message names what was wrong, what is allowed, what came, and what to do.
    Everything else that is raised counts as a fault of this package.
    """


class LabelError(UserError):
    """A mask that can be read, but holds something that stands for no class."""


class WriteError(OSError):
    """A file could not be written: one clear line, and exit code 1 on the command line."""


class ServerError(ConnectionError):
    """A server could not be reached, or failed: one clear line, and exit code 1."""


class MachineLost(ConnectionError):
    """Another machine of the same training could not be reached any more."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or what kind it is where it says nothing.

    Libraries go on with all that they know.
    """
    return (str(error).splitlines() or [type(error).__name__])[0]
