"""FCN-8s on PASCAL VOC and SBD in one stage, from VGG16's ImageNet weights.

    python train.py --recipe voc-fcn8s-atonce

Both skips are scaled down, by 0.01 and 0.0001, so that they do not swamp the start.

Published: VOC 2011 seg11valid, 736 images (percent).
Cost: 300 000 images, three times voc-fcn32s.
"""

from fcn_keras.recipes.common.reference import HEAVY, VOC_MEAN

PUBLISHED = dict(pixel_accuracy=91.1, mean_accuracy=78.5, mean_iu=65.4, frequency_weighted_iu=84.4)

SETTINGS = HEAVY | dict(
    variant="fcn8s-atonce",
    dataset="voc2011_sbd",
    input_mean=VOC_MEAN,
    steps=300000,
)
