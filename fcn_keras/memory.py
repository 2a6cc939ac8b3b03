"""Memory in use, in bytes: the first GPU's where there is one, else this process' own.

TensorFlow counts the one; the kernel the other, on Linux with a peak that can be set back.
Elsewhere there is the peak alone.
"""

import resource
import sys
from pathlib import Path

import tensorflow as tf


def memory_in_use() -> int:
    """Returns how many bytes are in use now."""
    return _of_gpu("current") or _of_process("VmRSS")


def peak_memory() -> int:
    """Returns how many bytes were in use at most, since the start or `forget_peak`."""
    return _of_gpu("peak") or _of_process("VmHWM")


def forget_peak():
    """Sets the peak back to what is in use now, where that is possible."""
    if _has_gpu():
        tf.config.experimental.reset_memory_stats("GPU:0")
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def _has_gpu():
    return bool(tf.config.list_logical_devices("GPU"))


def _of_gpu(what):
    return tf.config.experimental.get_memory_info("GPU:0")[what] if _has_gpu() else None


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
