"""Late fusion on NYUDv2: the mean of what colour and depth say.

    python train.py --recipe nyud-fcn32s-color-hha

Starts from the two networks trained before, each of which becomes one trunk.

Published: NYUDv2 test, 654 images, 40 classes (percent).
Cost: 100 000 images of 640x480, two trunks each.
"""

from fcn_keras.recipes.common.reference import HEAVY

PUBLISHED = dict(pixel_accuracy=64.3, mean_accuracy=44.9, mean_iu=32.8, frequency_weighted_iu=48.0)

SETTINGS = HEAVY | dict(
    variant="fcn32s-color-hha",
    dataset="nyudv2/color_hha",
    init_from="runs/nyudv2-fcn32s,runs/nyudv2-hha-fcn32s-hha",
    steps=100000,
    learning_rate=1e-12,
)
