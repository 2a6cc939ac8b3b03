"""The signals by which others ask a process to end."""

import signal

# SIGBREAK is Windows' own, where SIGTERM cannot be sent. Neither is everywhere.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name))
