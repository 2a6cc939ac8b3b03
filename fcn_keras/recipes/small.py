"""Any data set on a machine without a GPU: a narrow VGG16 from random weights.

    python train.py --variant fcn8s --dataset DIR --recipe small

Cost: about 10 training images a second on two CPU cores.
"""

SETTINGS = dict(
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.0,
    epochs=30,
    batch_size=4,
    crop_size=(256, 256),
    scale_min=0.75,
    scale_max=1.33,
    color=0.15,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=1e-3,
    clip_norm=1.0,
    warmup=0.05,
    validate_every=5,
)
