"""FCN-16s on PASCAL-Context, from the trained FCN-32s.

    python train.py --recipe pascalcontext-fcn16s

60 outputs: the 59 classes and the background.

Published: PASCAL-Context, 59 classes, 5105 images of VOC2010 val (percent).
Cost: 400 000 images.
"""

from fcn_keras.recipes.common.reference import CONTEXT_MEAN, HEAVY

PUBLISHED = dict(pixel_accuracy=65.7, mean_accuracy=46.2, mean_iu=34.8, frequency_weighted_iu=50.7)

SETTINGS = HEAVY | dict(
    variant="fcn16s",
    dataset="pascal_context",
    init_from="runs/pascal_context-fcn32s",
    input_mean=CONTEXT_MEAN,
    steps=400000,
    learning_rate=1e-12,
)
