"""Anyone's own images, on any machine: MobileNetV2 from ImageNet weights.

    python train.py --dataset DIR

Batch normalisation stays as it was pre-trained: batches of a few crops would spoil its statistics.
"""

SETTINGS = dict(
    backbone="mobilenet_v2",
    weights="imagenet",
    batch_norm="frozen",
    dropout=0.0,
    epochs=20,
    batch_size=8,
    crop_size=(320, 320),
    scale_min=0.75,
    scale_max=1.33,
    color=0.15,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=5e-4,
    warmup=0.05,
    validate_every=5,
)
