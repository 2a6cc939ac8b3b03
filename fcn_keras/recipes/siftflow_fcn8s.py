"""FCN-8s on SIFT Flow, two heads on one trunk, from the trained FCN-16s.

    python train.py --recipe siftflow-fcn8s

33 semantic classes (sem) and 3 geometric ones (geo); the sum of both losses is trained on.

Published: no row that could be read; see docs/results.md.
Cost: 100 000 images of 256x256.
"""

from fcn_keras.recipes.common.reference import HEAVY, SIFTFLOW_MEAN

SETTINGS = HEAVY | dict(
    variant="fcn8s",
    dataset="siftflow",
    init_from="runs/siftflow-fcn16s",
    input_mean=SIFTFLOW_MEAN,
    steps=100000,
    learning_rate=1e-12,
)
