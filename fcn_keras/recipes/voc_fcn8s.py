"""FCN-8s on PASCAL VOC and SBD, from the trained FCN-16s.

    python train.py --recipe voc-fcn8s

The third stage: pool3's new scores start at zero, and the rate is a hundredth again.

Published: VOC 2011 seg11valid, 736 images (percent).
Cost: 100 000 images; about 1 day on one K40c in the paper.
"""

from fcn_keras.recipes.common.reference import HEAVY, VOC_MEAN

PUBLISHED = dict(pixel_accuracy=91.2, mean_accuracy=77.6, mean_iu=65.5, frequency_weighted_iu=84.5)

SETTINGS = HEAVY | dict(
    variant="fcn8s",
    dataset="voc2011_sbd",
    init_from="runs/voc2011_sbd-fcn16s",
    input_mean=VOC_MEAN,
    steps=100000,
    learning_rate=1e-14,
)
