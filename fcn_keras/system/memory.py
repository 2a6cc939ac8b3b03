"""Memory in use, in bytes: the first GPU's where TensorFlow has one, else this process' own.

TensorFlow counts the one, once it has been imported; the kernel the other, on Linux with a peak
that can be set back. Elsewhere there is the peak alone.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path


def memory_in_use() -> int:
    """Returns how many bytes are in use now."""
    return _of_gpu("current") or resident_memory()


def peak_memory() -> int:
    """Returns how many bytes were in use at most, since the start or `forget_peak`."""
    return _of_gpu("peak") or peak_resident_memory()


def tensors_in_use() -> int | None:
    """Returns how many of the bytes TensorFlow's tensors take, or None if it does not count."""
    return _of_tensors("current")


def peak_of_tensors() -> int | None:
    """Returns what `tensors_in_use` was at most."""
    return _of_tensors("peak")


def resident_memory() -> int:
    """Returns how many bytes of this process are in the machine's memory now."""
    return _of_process("VmRSS")


def peak_resident_memory() -> int:
    """Returns what `resident_memory` was at most."""
    return _of_process("VmHWM")


def free_memory() -> float:
    """Returns how many bytes of the machine's memory are free; no limit where that is unknown."""
    size = _line_of("/proc/meminfo", "MemAvailable")
    return float("inf") if size is None else size


def forget_peak():
    """Sets the peaks back to what is in use now, where that is possible."""
    with suppress(ValueError):
        if tf := _tensorflow():
            tf.config.experimental.reset_memory_stats(_device(tf))
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _tensorflow():
    """TensorFlow, if it has been imported: before that it has no memory."""
    return sys.modules.get("tensorflow")


def _device(tf):
    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


def _of_gpu(what):
    tf = _tensorflow()
    return _of_tensors(what) if tf and _device(tf) == "GPU:0" else None


def _of_tensors(what):
    tf = _tensorflow()
    try:
        return tf and tf.config.experimental.get_memory_info(_device(tf))[what]
    except ValueError:  # for processors only where it is built with oneDNN
        return None


def _of_process(what):
    # Not `getrusage` where it can be helped: it begins with what the program had that started
    # this one.
    size = _line_of("/proc/self/status", what)
    if size is not None:
        return size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _line_of(file, name):
    """Returns the bytes that a line of a file of the kernel tells; None if there is none."""
    with suppress(OSError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None
