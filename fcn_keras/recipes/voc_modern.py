"""FCN-8s on PASCAL VOC and SBD in one stage, as one would train it today.

    python train.py --recipe voc-modern

Published: VOC 2011 seg11valid, 736 images (percent), by the reference's own recipe.
Cost: 50 epochs of 8498 images.
"""

from fcn_keras.recipes.common.reference import MODERN, VOC_MEAN

PUBLISHED = dict(pixel_accuracy=91.1, mean_accuracy=78.5, mean_iu=65.4, frequency_weighted_iu=84.4)

SETTINGS = MODERN | dict(
    dataset="voc2011_sbd",
    input_mean=VOC_MEAN,
    epochs=50,
)
