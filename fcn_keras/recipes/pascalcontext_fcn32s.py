"""FCN-32s on PASCAL-Context, from VGG16's ImageNet weights.

    python train.py --recipe pascalcontext-fcn32s

60 outputs: the 59 classes and the background.

Published: PASCAL-Context, 59 classes, 5105 images of VOC2010 val (percent).
Cost: 400 000 images.
"""

from fcn_keras.recipes.common.reference import CONTEXT_MEAN, HEAVY

PUBLISHED = dict(pixel_accuracy=63.8, mean_accuracy=42.7, mean_iu=31.8, frequency_weighted_iu=48.3)

SETTINGS = HEAVY | dict(
    variant="fcn32s",
    dataset="pascal_context",
    input_mean=CONTEXT_MEAN,
    steps=400000,
)
