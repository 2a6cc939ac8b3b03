"""The one exception for mistakes that the caller can mend."""


class UserError(ValueError):
    """A mistake of the caller: one clear line, and exit code 2 on the command line.

    The message names what was wrong, what is allowed, what came, and what to do.
    Everything else that is raised counts as a fault of this package.
    """
