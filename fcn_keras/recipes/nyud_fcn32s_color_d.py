"""Early fusion on NYUDv2: FCN-32s whose first layer reads colours and depth.

    python train.py --recipe nyud-fcn32s-color-d

Depth in millimetres, of which the network takes the logarithm.

Published: NYUDv2 test, 654 images, 40 classes (percent).
Cost: 100 000 images of 640x480.
"""

from fcn_keras.recipes.common.reference import HEAVY, NYUD_LOG_DEPTH_MEAN, NYUD_MEAN

PUBLISHED = dict(pixel_accuracy=61.5, mean_accuracy=42.4, mean_iu=30.5, frequency_weighted_iu=45.5)

SETTINGS = HEAVY | dict(
    variant="fcn32s-color-d",
    dataset="nyudv2/color_d",
    input_mean=(*NYUD_MEAN, NYUD_LOG_DEPTH_MEAN),
    steps=100000,
)
