"""This process as one on Windows: without what only other systems have."""

import ctypes
import importlib.abc
import os
import platform
import signal
import sys
import warnings
from contextlib import suppress

import psutil  # noqa: F401  while it can: what it is here is another on Windows

# So with what Keras brings in where scikit-learn is installed.
with suppress(ImportError):
    import joblib  # noqa: F401

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")

ABILITIES = {
    os: ("fork", "forkpty", "killpg", "mkfifo", "sched_getaffinity", "statvfs", "RTLD_LAZY"),
    # SIGTERM is there, but nobody sends it.
    signal: ("SIGTERM", "SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGCHLD", "SIGPIPE")
    + ("alarm", "pause", "setitimer", "sigwait", "pthread_kill", "pthread_sigmask"),
}

NO_PRIVILEGE = 1314

_CDLL = ctypes.CDLL


class Absent(importlib.abc.MetaPathFinder):
    """Refuses imports."""

    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class Library(_CDLL):
    """Finds neither the process itself, which is no library there, nor TensorFlow's."""

    def __init__(self, name, *args, **options):
        caller = sys._getframe(1).f_globals["__name__"]
        if name is None and not caller.startswith("filelock"):  # which knows this system
            raise TypeError("argument of type 'NoneType' is not iterable")
        if "libtensorflow_cc" in str(name):
            raise FileNotFoundError(f"Could not find module '{name}'")
        super().__init__(name, *args, **options)


def refused(*_):
    error = OSError("A required privilege is not held by the client")
    error.winerror = NO_PRIVILEGE
    raise error


def refuse_proc(event, args):
    if event == "open" and args[0] in ("/proc/cpuinfo", "/proc/meminfo", "/proc/self/status"):
        raise FileNotFoundError(args[0])


def pretend():
    """Takes away what Windows does not have, until the process ends."""
    sys.meta_path.insert(0, Absent())
    for name in MODULES:
        sys.modules.pop(name, None)
    for module, names in ABILITIES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    ctypes.CDLL = Library
    os.symlink = refused
    platform.libc_ver = lambda *_: ("", "")
    sys.addaudithook(refuse_proc)
    # filelock knows of no Windows that is none, and then of no locks that end with the process.
    warnings.filterwarnings("ignore", "only soft file lock")
