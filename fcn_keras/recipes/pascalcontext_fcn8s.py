"""FCN-8s on PASCAL-Context, from the trained FCN-16s.

    python train.py --recipe pascalcontext-fcn8s

60 outputs: the 59 classes and the background.

Published: PASCAL-Context, 59 classes, 5105 images of VOC2010 val (percent).
Cost: 400 000 images.
"""

from fcn_keras.recipes.common.reference import CONTEXT_MEAN, HEAVY

PUBLISHED = dict(pixel_accuracy=65.9, mean_accuracy=46.5, mean_iu=35.1, frequency_weighted_iu=51.0)

SETTINGS = HEAVY | dict(
    variant="fcn8s",
    dataset="pascal_context",
    init_from="runs/pascal_context-fcn16s",
    input_mean=CONTEXT_MEAN,
    steps=400000,
    learning_rate=1e-14,
)
