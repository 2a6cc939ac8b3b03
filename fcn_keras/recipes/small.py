"""Any data set on a machine without a GPU: a narrow VGG16 from random weights."""

SETTINGS = dict(
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.2,
    epochs=24,
    batch_size=8,
    crop_size=(256, 256),
    scale_min=0.5,
    scale_max=2.0,
    color=0.3,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=5e-4,
    warmup=0.05,
)
