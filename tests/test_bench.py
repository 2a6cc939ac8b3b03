import json

import numpy as np

from fcn_keras.bench import bench_input
from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.recipes import resolve


class Split:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        image = np.full((20, 30, 3), index, "uint8")
        return Example(image, np.zeros((20, 30, 1), "uint8"), str(index))


def test_every_part_is_measured():
    settings = resolve("small", crop_size=(16, 16), batch_size=2)
    rates = bench_input(Dataset("x", ["a"], [(0, 0, 0)], {"train": Split()}), settings, seconds=0.3)
    assert list(rates) == ["decode", "augment", "pipeline", "pipeline_cached"]
    assert all(np.isfinite(rate) and rate > 0 for rate in rates.values())
    assert json.loads(json.dumps(rates)) == rates
