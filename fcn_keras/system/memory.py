"""Memory in use, in bytes: the first GPU's where TensorFlow has one, else this process' own.

TensorFlow counts the one, once it has been imported; the kernel the other, on Linux with a peak
that can be set back. On macOS there is the peak alone.
"""

import ctypes
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1


class Memory(NamedTuple):
    """How many bytes are in use: now, and at most since the start or `forget_peak`."""

    now: int
    peak: int


def memory_in_use() -> Memory:
    """Returns how much is in use of the GPU, or by this process where there is none."""
    tf = sys.modules.get("tensorflow")
    return (tensors_in_use() if tf and _device(tf) == "GPU:0" else None) or process_memory()


def tensors_in_use() -> Memory | None:
    """Returns how much TensorFlow's tensors take, or None if it does not count."""
    tf = sys.modules.get("tensorflow")  # before it is imported there are none
    try:
        info = tf and tf.config.experimental.get_memory_info(_device(tf))
    except ValueError:  # for processors only where it is built with oneDNN
        return None
    return Memory(info["current"], info["peak"]) if info else None


def process_memory() -> Memory:
    """Returns how much of the machine's memory this process takes."""
    now, peak = (_line_of("/proc/self/status", name) for name in ("VmRSS", "VmHWM"))
    return _memory_elsewhere() if now is None or peak is None else Memory(now, peak)


def _memory_elsewhere():
    try:
        import resource
    except ImportError:  # on Windows
        import psutil

        info = psutil.Process().memory_info()
        return Memory(info.rss, getattr(info, "peak_wset", info.rss))
    # Only where it cannot be helped: it begins with what the program had that started this.
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory(*[largest if sys.platform == "darwin" else largest * 1024] * 2)


def free_memory() -> float:
    """Returns how many bytes of the machine's memory are free; no limit where that is unknown."""
    size = _line_of("/proc/meminfo", "MemAvailable")
    return float("inf") if size is None else size


def forget_peak():
    """Sets the peaks back to what is in use now, where that is possible."""
    with suppress(ValueError):
        if tf := sys.modules.get("tensorflow"):
            tf.config.experimental.reset_memory_stats(_device(tf))
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "utf-8")


def keep_freed_memory() -> None:
    """Lets this process keep the memory that it frees, for its next tensors.

    To be called before TensorFlow is imported. By itself the C library gives large arrays back to
    the system, which on the next ones clears every page anew: on two cores of a virtual machine
    that is a third of a training step. Where the C library is another than glibc, or its own
    variables `MALLOC_..` say how, nothing is done.
    """
    named = any(name.startswith("MALLOC_") for name in os.environ)
    if named or not platform.libc_ver()[0] == "glibc":
        return
    c_library = ctypes.CDLL(None)
    # Only the first of several arenas holds arrays of more than 64 MB.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)):
        c_library.mallopt(option, value)


def _device(tf):
    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


def _line_of(file, name):
    with suppress(OSError):
        for line in Path(file).read_text("utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None
