"""FCN-32s on NYUDv2's photographs.

    python train.py --recipe nyud-fcn32s-color

Published: NYUDv2 test, 654 images, 40 classes (percent).
Cost: 100 000 images of 640x480.
"""

from fcn_keras.recipes.common.reference import HEAVY, NYUD_MEAN

PUBLISHED = dict(pixel_accuracy=60.0, mean_accuracy=42.2, mean_iu=29.2, frequency_weighted_iu=43.9)

SETTINGS = HEAVY | dict(
    variant="fcn32s",
    dataset="nyudv2",
    input_mean=NYUD_MEAN,
    steps=100000,
)
