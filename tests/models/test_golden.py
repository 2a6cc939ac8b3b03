"""The networks give the scores that OpenCV gave under Caffe's definitions; see golden/."""

from pathlib import Path

import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from helpers.caffe_nets import NETS, random_blobs

from fcn_keras import build

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("variant", NETS)
def test_scores_are_those_kept(variant, tmp_path):
    kept = np.load(GOLDEN / f"{variant}.npz")
    num_classes, width = int(kept["num_classes"]), float(kept["width"])
    path = tmp_path / "net.caffemodel"
    write_caffemodel(path, random_blobs(variant, num_classes, width, int(kept["seed"])))
    model = build(variant, num_classes, weights=path, width=width)
    scores = np.asarray(model(kept["image"][None]))[0]
    np.testing.assert_allclose(
        scores, kept["scores"], rtol=0, atol=1e-5 * np.abs(kept["scores"]).max()
    )
