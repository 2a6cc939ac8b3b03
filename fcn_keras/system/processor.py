"""What the processor can do, and what TensorFlow has to be told of it before it is opened."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

HALF_FLAGS = {  # x86's, and Arm's
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "float16": {"avx512_fp16", "amx_fp16", "asimdhp"},
}

# What makes a difference to how networks are computed: the first kind of which a processor has the
# instructions, and whether that computes in bfloat16. Any other is `OTHER`.
KINDS = {
    "amx": ("amx_bf16", True),
    "avx512_bf16": ("avx512_bf16", True),
    "avx512": ("avx512f", False),
    "avx2": ("avx2", False),
}
OTHER = "other"

_taken: ContextVar[str | None] = ContextVar("taken", default=None)


@functools.cache
def about() -> dict[str, str]:
    """Returns what Linux says of a processor, by its own names; nothing on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    parts = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in parts}


def flags() -> frozenset[str]:
    """Returns the names of its instruction sets, as Linux lists them for x86 and for Arm."""
    return frozenset((about().get("flags") or about().get("Features", "")).split())


def cores() -> int:
    """Returns how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # on macOS and Windows
        return os.cpu_count() or 1


def kind() -> str:
    """Returns which of `KINDS` it is, or `OTHER`."""
    found = (name for name, (flag, _) in KINDS.items() if flag in flags())
    return _taken.get() or next(found, OTHER)


@contextmanager
def taken_for(kind: str) -> Iterator[None]:
    """Lets the processor pass for one of `KINDS`, for what is written for another machine."""
    token = _taken.set(kind)
    try:
        yield
    finally:
        _taken.reset(token)


def has_only_avx2() -> bool:
    """Returns whether the processor has AVX2, but not AVX-512."""
    return kind() == "avx2"


def computes_in(dtype: str) -> bool | None:
    """Returns whether it has instructions for `"bfloat16"` or `"float16"`, None if unknown."""
    if dtype == "bfloat16" and kind() in KINDS:
        return KINDS[kind()][1]
    return bool(HALF_FLAGS[dtype] & flags()) if flags() else None


def use_onednn():
    """Lets TensorFlow compute by oneDNN on processors with AVX2, unless it has been told.

    By itself it does so with AVX512_VNNI only. With AVX2 alone its own products of matrices take
    twice the time of oneDNN's. It asks once, when it is opened.
    """
    if "avx2" in flags():
        os.environ.setdefault(ONEDNN, "1")
