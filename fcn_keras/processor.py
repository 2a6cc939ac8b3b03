"""What the processor can do, and what TensorFlow has to be told of it before it is opened."""

import functools
import os
from pathlib import Path

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


@functools.cache
def about() -> dict[str, str]:
    """Returns what Linux says of a processor, by its own names; nothing on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    parts = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in parts}


def flags() -> frozenset[str]:
    """Returns the names of its instruction sets, as Linux lists them for x86 and for Arm."""
    return frozenset((about().get("flags") or about().get("Features", "")).split())


def has_only_avx2() -> bool:
    """Returns whether the processor has AVX2, but not AVX-512."""
    return "avx2" in flags() and "avx512f" not in flags()


def use_onednn():
    """Lets TensorFlow compute by oneDNN on processors with AVX2, unless it has been told.

    By itself it does so with AVX512_VNNI only. With AVX2 alone its own products of matrices take
    twice the time of oneDNN's. It asks once, when it is opened.
    """
    if "avx2" in flags():
        os.environ.setdefault(ONEDNN, "1")
