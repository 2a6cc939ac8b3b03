"""FCN-16s on PASCAL VOC and SBD, from the trained FCN-32s.

    python train.py --recipe voc-fcn16s

The second stage: pool4's new scores start at zero, and the rate is a hundredth.

Published: VOC 2011 seg11valid, 736 images (percent).
Cost: 100 000 images; about 1 day on one K40c in the paper.
"""

from fcn_keras.recipes.common.reference import HEAVY, VOC_MEAN

PUBLISHED = dict(pixel_accuracy=91.0, mean_accuracy=78.1, mean_iu=65.0, frequency_weighted_iu=84.3)

SETTINGS = HEAVY | dict(
    variant="fcn16s",
    dataset="voc2011_sbd",
    init_from="runs/voc2011_sbd-fcn32s",
    input_mean=VOC_MEAN,
    steps=100000,
    learning_rate=1e-12,
)
