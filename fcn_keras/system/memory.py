"""Memory in use, in bytes: the first GPU's where there is one, else this process' own.

TensorFlow counts the one; the kernel the other, on Linux with a peak that can be set back.
Elsewhere there is the peak alone.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import tensorflow as tf


def memory_in_use() -> int:
    """Returns how many bytes are in use now."""
    return _of_gpu("current") or _of_process("VmRSS")


def peak_memory() -> int:
    """Returns how many bytes were in use at most, since the start or `forget_peak`."""
    return _of_gpu("peak") or _of_process("VmHWM")


def tensors_in_use() -> int | None:
    """Returns how many of the bytes TensorFlow's tensors take, or None if it does not count."""
    return _of_tensors("current")


def peak_of_tensors() -> int | None:
    """Returns what `tensors_in_use` was at most."""
    return _of_tensors("peak")


def forget_peak():
    """Sets the peaks back to what is in use now, where that is possible."""
    with suppress(ValueError):
        tf.config.experimental.reset_memory_stats(_device())
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _device():
    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


def _of_gpu(what):
    return _of_tensors(what) if _device() == "GPU:0" else None


def _of_tensors(what):
    try:
        return tf.config.experimental.get_memory_info(_device())[what]
    except ValueError:  # for processors only where it is built with oneDNN
        return None


def _of_process(what):
    # Not `getrusage` where it can be helped: it begins with what the program had that started
    # this one.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
