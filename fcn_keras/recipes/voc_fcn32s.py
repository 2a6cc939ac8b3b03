"""FCN-32s on PASCAL VOC and SBD, from VGG16's ImageNet weights.

    python train.py --recipe voc-fcn32s

The first stage of the reference's voc-fcn32s, -16s, -8s.

Published: VOC 2011 seg11valid, 736 images (percent).
Cost: 100 000 images forward and backward; 3 days on one K40c in the paper.
"""

from fcn_keras.recipes.common.reference import HEAVY, VOC_MEAN

PUBLISHED = dict(pixel_accuracy=90.5, mean_accuracy=76.5, mean_iu=63.6, frequency_weighted_iu=83.5)

SETTINGS = HEAVY | dict(
    variant="fcn32s",
    dataset="voc2011_sbd",
    input_mean=VOC_MEAN,
    steps=100000,
)
