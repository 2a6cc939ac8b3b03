"""The embedded set `shapes`: a first run on any machine, in minutes.

FCN-8s with a quarter of VGG16's channels, from random weights, on scenes that the package draws.

    python train.py --variant fcn8s

Cost: five minutes on two CPU cores. Expected: mean IU 0.81 on the validation split.
"""

SETTINGS = dict(
    dataset="shapes",
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.1,
    epochs=6,
    batch_size=8,
    crop_size=(96, 96),
    optimizer="adam",
    learning_rate=1e-3,
    warmup=0.1,
)
