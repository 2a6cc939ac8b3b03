"""Very many images: what is done and held for each, counted."""

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import write_folder
from PIL import Image

from fcn_keras.data import inspection
from fcn_keras.data.batches import distributed_batches
from fcn_keras.data.dataset import in_parallel
from fcn_keras.data.files.readers import Photographs
from fcn_keras.data.findings import Held
from fcn_keras.data.folders import drawn, folder, layout
from fcn_keras.data.folders.layout import ALL, find_layout
from fcn_keras.data.folders.matching import Pair, PairedFiles
from fcn_keras.data.source import Source


def test_few_calls_are_ahead():
    """An endless row of items: no more are begun than who takes the results can wait for."""
    begun = itertools.count()
    results = in_parallel(lambda _: next(begun), range(10**9), "counting", progress=False)
    assert next(results) >= 0
    assert next(begun) < 1000
    results.close()


def test_errors_in_parallel():
    """The first one comes up in its place, and ends the work."""

    def check(number):
        if number >= 5:
            raise ValueError(f"number {number}")
        return number

    found = []
    with pytest.raises(ValueError, match="^number 5$"):
        found += (number for number in in_parallel(check, range(10**6), "x", progress=False))
    assert in_parallel(check, [], "x", progress=False) is not None
    assert [*in_parallel(check, range(5), "x", progress=False)] == [0, 1, 2, 3, 4]


def test_held_counts():
    rng = np.random.default_rng(0)
    for values in ([], [0], [255], [0, 3, 255], range(256)):
        counts = np.zeros(256, "int64")
        counts[[*values]] = rng.integers(1, 2**40, len(values))
        np.testing.assert_array_equal(Held.of(counts).counts(), counts)


def test_what_masks_have_in_common_is_held_once(tmp_path, monkeypatch):
    """Of each image some hundred bytes are held, and no array."""
    root = write_folder(tmp_path, train=20, val=10)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), "uint8")
    for path in root.glob("*annot/*.png"):
        mask = Image.open(path)
        mask.putpalette(palette.tobytes())
        mask.save(path)
    seen = []
    monkeypatch.setattr(inspection, "judge_masks", lambda _, looks, __: seen.extend(looks))
    inspection.inspect(root, progress=False)
    assert len(seen) == 30 and all(look.reading.palette is not None for look in seen)
    assert len({id(look.reading) for look in seen}) == 1
    assert len({id(look.size) for look in seen}) == 1
    assert len({id(held.values) for look in seen for held in look.values}) == 1
    for look in seen:
        [held] = look.values
        parts = (look, held, held.pixels, look.digest, look.values, look.faults)
        assert sum(map(sys.getsizeof, parts)) < 600


def test_pairs_hold_no_paths(tmp_path):
    pairs = [Pair(f"{i}", tmp_path / f"{i}.jpg", tmp_path / f"{i}.png") for i in range(3)]
    assert not any(isinstance(getattr(pairs[0], name), Path) for name in Pair.__slots__)
    assert [*PairedFiles(pairs)] == [(pair.image, pair.mask) for pair in pairs]
    assert pairs[2].image == tmp_path / "2.jpg" and pairs[2].mask == tmp_path / "2.png"


def test_the_layout_is_found_once(tmp_path, monkeypatch):
    calls = []

    def counted(root):
        calls.append(root)
        return find_layout(root)

    monkeypatch.setattr(folder, "find_layout", counted)
    monkeypatch.setattr(drawn, "find_layout", counted)
    folder.find_folder(write_folder(tmp_path))
    assert len(calls) == 1


def test_the_layout_looks_at_no_file(tmp_path, monkeypatch):
    """Images and masks without splits, among which folders are sought: by the listing alone."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for i in range(50):
            (tmp_path / name / f"{i}.png").touch()
    looked = []
    stat = os.stat

    def counted(path, **options):
        looked.append(path)
        return stat(path, **options)

    monkeypatch.setattr(layout.os, "stat", counted)
    found = find_layout(tmp_path)
    assert found.folders == {ALL: (tmp_path / "images", tmp_path / "masks")}
    assert len(looked) < 10


def test_sizes_are_read_once_for_evaluation(tmp_path, monkeypatch):
    split = folder.load_folder(write_folder(tmp_path, val=7)).splits["val"]
    asked, size = [], Photographs.size

    def counted(self, path):
        asked.append(path)
        return size(self, path)

    monkeypatch.setattr(Photographs, "size", counted)
    import tensorflow as tf

    batches, steps = distributed_batches(split, 2, tf.distribute.get_strategy())
    assert sum(1 for _ in batches) == steps == 4
    assert len(asked) == len({*asked}) == 7


def test_very_many_warnings_are_counted(tmp_path, capsys):
    """Numbers begin anew in each split, as where 100 000 images have such names."""
    root = write_folder(tmp_path, train=30, val=30)
    for path in root.glob("val*/*.png"):
        path.rename(path.with_name(path.name.replace("val", "train")))
    Source(root).check()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("warning: ") and "has the name of another image" in lines[0]
    assert lines[-1] == "warning: images in two splits: 10 more (`data check --json` lists all)"
