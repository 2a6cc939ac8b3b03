"""Any data set on a machine without a GPU: a narrow VGG16 from random weights.

    python train.py --variant fcn8s --dataset DIR --recipe small

Cost: about 9 training images a second on two CPU cores. On CamVid (367 images, 11 classes) that
is 22 minutes, for a mean IU of 0.547 on the validation split.
"""

SETTINGS = dict(
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.1,
    epochs=24,
    batch_size=4,
    crop_size=(256, 256),
    scale_min=0.75,
    scale_max=1.33,
    color=0.15,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=5e-4,
    warmup=0.05,
    validate_every=4,
)
