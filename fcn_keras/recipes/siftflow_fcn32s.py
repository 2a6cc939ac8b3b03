"""FCN-32s on SIFT Flow, two heads on one trunk.

    python train.py --recipe siftflow-fcn32s

33 semantic classes (sem) and 3 geometric ones (geo); the sum of both losses is trained on.

Published: no row of its own.
Cost: 100 000 images of 256x256.
"""

from fcn_keras.recipes.common.reference import HEAVY, SIFTFLOW_MEAN

SETTINGS = HEAVY | dict(
    variant="fcn32s",
    dataset="siftflow",
    input_mean=SIFTFLOW_MEAN,
    steps=100000,
)
