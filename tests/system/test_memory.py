"""Memory that a process keeps."""

import platform
import subprocess
import sys

import pytest

# Whether the pages of an array that was freed are there again for the next one.
CODE = """
import ctypes
from fcn_keras.system.memory import keep_freed_memory
keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
def faults():
    return int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[7])
def use():
    array = c.malloc(size := 200 << 20)
    before = faults()
    ctypes.memset(array, 1, size)
    found = faults() - before
    c.free(array)
    return found
use()
print(use())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps its own")
@pytest.mark.parametrize(
    ("environment", "kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": "100000"}, False)]
)
def test_freed_memory_is_kept(environment, kept):
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, check=True, capture_output=True, text=True
    )
    assert (int(done.stdout) < 100) == kept, done.stdout
