"""The model of training on many GPUs: by hand, within its bounds, and as the document has it."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ring_by_hand(scaling):
    # Two GPUs each send half twice, and a step ends when it has come a hop further.
    assert scaling.ring_seconds(360e9, 2, 1) == pytest.approx(1 + 2 * 1e-6)
    # Two machines: 2 * 15 steps, each a sixteenth; two of the sixteen hops are far.
    found = scaling.ring_seconds(8e9, 16, 12.5e9)
    assert found == pytest.approx(30 / 16 * (0.8 + 14e-6 + 2 * 5e-6))
    assert scaling.ring_seconds(8e9, 1, 12.5e9) == 0


@pytest.mark.parametrize("gpus", [2, 8, 64, 512])
@pytest.mark.parametrize("batch", [1, 16])
def test_overlap_hides_no_more_than_there_is(scaling, gpus, batch):
    for bandwidth in scaling.NETWORKS.values():
        computing = scaling.step_seconds(scaling.IMAGE, batch, 1, bandwidth)
        summing = scaling.ring_seconds(scaling.IMAGE.gradient_bytes(), gpus, bandwidth)
        behind = scaling.step_seconds(scaling.IMAGE, batch, gpus, bandwidth)
        assert behind == pytest.approx(computing + summing)
        for bucket in scaling.BUCKETS:
            step = scaling.step_seconds(scaling.IMAGE, batch, gpus, bandwidth, bucket)
            assert step > max(computing, summing)
        without, overlapped = (
            scaling.efficiency(batch, gpus, bandwidth, overlap) for overlap in (False, True)
        )
        assert without == pytest.approx(computing / behind)
        assert without <= overlapped < 1


def test_fixed_fc6_saves_its_gradient(scaling):
    image, fixed = scaling.IMAGE, scaling.without_fc6(scaling.IMAGE)
    weights = 7 * 7 * 512 * 4096 + 4096
    assert image.gradient_bytes() - fixed.gradient_bytes() == 4 * weights
    assert fixed.forward_flops == image.forward_flops


def test_the_document_has_these_tables(scaling, capsys):
    scaling.tables(98e3, 80)
    document = (ROOT / "docs" / "scaling.md").read_text()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert [row for row in rows if row not in document] == []
