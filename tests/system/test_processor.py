import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcn_keras.system import processor

X86 = "processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx {}\n\nprocessor : 1\n"


@pytest.fixture
def cpuinfo(monkeypatch):
    """Lets Linux say something else of the processor."""

    def say(text):
        def read_text(self, *_):
            assert str(self) == "/proc/cpuinfo"
            if text is None:
                raise FileNotFoundError(self)
            return text

        monkeypatch.setattr(Path, "read_text", read_text)
        processor.about.cache_clear()

    yield say
    monkeypatch.undo()
    processor.about.cache_clear()


@pytest.mark.parametrize(
    ("text", "flags", "only", "told"),
    [
        (X86.format("avx2"), {"fpu", "avx", "avx2"}, True, "1"),
        (X86.format("avx2 avx512f"), {"fpu", "avx", "avx2", "avx512f"}, False, "1"),
        (X86.format("sse4_2"), {"fpu", "avx", "sse4_2"}, False, None),
        ("processor : 0\nFeatures : fp asimd bf16\n", {"fp", "asimd", "bf16"}, False, None),
        (None, set(), False, None),
    ],
)
def test_what_it_has(cpuinfo, monkeypatch, text, flags, only, told):
    cpuinfo(text)
    monkeypatch.delenv(processor.ONEDNN, raising=False)
    assert processor.flags() == flags
    assert processor.has_only_avx2() == only
    processor.use_onednn()
    assert os.environ.get(processor.ONEDNN) == told


@pytest.mark.parametrize(
    ("text", "bfloat16", "float16"),
    [
        (X86.format("avx2 avx512f"), False, False),
        (X86.format("avx512f avx512_bf16"), True, False),
        (X86.format("amx_bf16 avx512_fp16"), True, True),
        ("processor : 0\nFeatures : fp asimd asimdhp\n", False, True),
        (None, None, None),
    ],
)
def test_what_it_computes_in(cpuinfo, text, bfloat16, float16):
    cpuinfo(text)
    assert processor.computes_in("bfloat16") is bfloat16
    assert processor.computes_in("float16") is float16


def test_what_was_told_stays(cpuinfo, monkeypatch):
    cpuinfo(X86.format("avx2"))
    monkeypatch.setenv(processor.ONEDNN, "0")
    processor.use_onednn()
    assert os.environ[processor.ONEDNN] == "0"


PROGRAM = """
import os
from fcn_keras.inference.c_library import library as c_api
from fcn_keras.system import console
os.environ.pop("{name}", None)
{call}
print(os.environ.get("{name}"))
"""


@pytest.mark.skipif("avx2" not in processor.flags(), reason="needs a processor with AVX2")
@pytest.mark.parametrize("call", ["c_api.open_library()", "console.quiet(True, False).__enter__()"])
def test_who_tells_it(call):
    program = PROGRAM.format(name=processor.ONEDNN, call=call)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("avx2", "avx2"),
        ("avx2 avx512f", "avx512"),
        ("avx2 avx512f avx512_bf16", "avx512_bf16"),
        ("avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "amx"),
        ("sse4_2", "other"),
    ],
)
def test_which_kind_it_is(cpuinfo, flags, kind):
    cpuinfo(X86.format(flags))
    assert processor.kind() == kind
    for other, (_, computes) in processor.KINDS.items():
        with processor.taken_for(other):
            assert processor.kind() == other
            assert processor.has_only_avx2() == (other == "avx2")
            assert processor.computes_in("bfloat16") is computes
    assert processor.kind() == kind
