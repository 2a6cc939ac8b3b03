"""Any data set on a machine without a GPU: a narrow VGG16 from random weights.

    python train.py --variant fcn8s --dataset DIR --recipe small

Cost: on two CPU cores about a minute for 600 training images and epoch, at the crop size below.
"""

SETTINGS = dict(
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.1,
    epochs=36,
    batch_size=8,
    crop_size=(192, 192),
    scale_min=0.75,
    scale_max=1.25,
    color=0.1,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=7e-4,
    warmup=0.05,
    validate_every=12,
)
