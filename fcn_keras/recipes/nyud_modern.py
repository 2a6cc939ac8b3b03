"""FCN-8s on NYUDv2's photographs in one stage, as one would train it today.

    python train.py --recipe nyud-modern

Published: FCN-32s of the paper, NYUDv2 test, 654 images, 40 classes (percent).
Cost: 100 epochs of 795 images.
"""

from fcn_keras.recipes.common.reference import MODERN, NYUD_MEAN

PUBLISHED = dict(pixel_accuracy=60.0, mean_accuracy=42.2, mean_iu=29.2, frequency_weighted_iu=43.9)

SETTINGS = MODERN | dict(
    dataset="nyudv2",
    input_mean=NYUD_MEAN,
    epochs=100,
)
