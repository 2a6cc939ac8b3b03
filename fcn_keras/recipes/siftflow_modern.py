"""FCN-8s on SIFT Flow in one stage, two heads, as one would train it today.

    python train.py --recipe siftflow-modern

Published: FCN-16s of the paper, SIFT Flow test, 200 images, semantic head (percent); the
    geometric head has a pixel accuracy of 94.3.
Cost: 60 epochs of 2486 images.
"""

from fcn_keras.recipes.common.reference import MODERN, SIFTFLOW_MEAN

PUBLISHED = dict(pixel_accuracy=85.2, mean_accuracy=51.7, mean_iu=39.5, frequency_weighted_iu=76.1)

SETTINGS = MODERN | dict(
    dataset="siftflow",
    input_mean=SIFTFLOW_MEAN,
    crop_size=(256, 256),
    epochs=60,
)
