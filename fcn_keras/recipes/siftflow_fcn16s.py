"""FCN-16s on SIFT Flow, two heads on one trunk, from the trained FCN-32s.

    python train.py --recipe siftflow-fcn16s

33 semantic classes (sem) and 3 geometric ones (geo); the sum of both losses is trained on.

Published: SIFT Flow test, 200 images, semantic head (percent); the geometric head
    has a pixel accuracy of 94.3.
Cost: 100 000 images of 256x256.
"""

from fcn_keras.recipes.common.reference import HEAVY, SIFTFLOW_MEAN

PUBLISHED = dict(pixel_accuracy=85.2, mean_accuracy=51.7, mean_iu=39.5, frequency_weighted_iu=76.1)

SETTINGS = HEAVY | dict(
    variant="fcn16s",
    dataset="siftflow",
    init_from="runs/siftflow-fcn32s",
    input_mean=SIFTFLOW_MEAN,
    steps=100000,
    learning_rate=1e-12,
)
