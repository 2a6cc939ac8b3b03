"""FCN-32s on NYUDv2's depth, encoded as HHA.

    python train.py --recipe nyud-fcn32s-hha

Disparity, height and angle to gravity as three channels, in the order of the files.

Published: NYUDv2 test, 654 images, 40 classes (percent).
Cost: 100 000 images of 640x480.
"""

from fcn_keras.recipes.common.reference import HEAVY

PUBLISHED = dict(pixel_accuracy=57.1, mean_accuracy=35.2, mean_iu=24.2, frequency_weighted_iu=40.4)

SETTINGS = HEAVY | dict(
    variant="fcn32s-hha",
    dataset="nyudv2/hha",
    steps=100000,
)
