"""Makes the files of this folder, which `test_golden.py` compares the networks with.

    PYTHONPATH=tests python tests/models/golden/make_golden.py

Each holds an image, and the scores that OpenCV 4's DNN module (`opencv-python-headless<5`) gives
it under the Caffe definition in `caffe_nets.py`. The weights are not in the file: they follow
from `seed`, `num_classes` and `width` by `caffe_nets.random_blobs`.

Making them anew changes the last digits of the scores at most; any other change would say that
`caffe_nets.py` means another network than before.
"""

import tempfile
from pathlib import Path

import numpy as np
from helpers.caffe_files import write_caffemodel
from helpers.caffe_nets import NETS, opencv_scores, random_blobs

FOLDER = Path(__file__).parent
CLASSES, WIDTH, SIZE = 3, 1 / 32, (40, 53)


def main():
    for seed, variant in enumerate(NETS, start=10):
        image = np.random.RandomState(seed).randint(0, 256, (*SIZE, 3)).astype("uint8")
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "net.caffemodel"
            write_caffemodel(model, random_blobs(variant, CLASSES, WIDTH, seed))
            scores = opencv_scores(variant, CLASSES, WIDTH, model, image)
        np.savez_compressed(
            FOLDER / f"{variant}.npz",
            image=image,
            scores=scores,
            seed=seed,
            num_classes=CLASSES,
            width=WIDTH,
        )


if __name__ == "__main__":
    main()
