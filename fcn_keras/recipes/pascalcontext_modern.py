"""FCN-8s on PASCAL-Context in one stage, as one would train it today.

    python train.py --recipe pascalcontext-modern

Published: FCN-8s of the paper, PASCAL-Context, 59 classes, 5105 images of VOC2010 val (percent).
Cost: 60 epochs of 4998 images.
"""

from fcn_keras.recipes.common.reference import CONTEXT_MEAN, MODERN

PUBLISHED = dict(pixel_accuracy=65.9, mean_accuracy=46.5, mean_iu=35.1, frequency_weighted_iu=51.0)

SETTINGS = MODERN | dict(
    dataset="pascal_context",
    input_mean=CONTEXT_MEAN,
    epochs=60,
)
