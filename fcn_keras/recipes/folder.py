"""Anyone's own images, on a GPU: the paper's network from ImageNet weights."""

SETTINGS = dict(
    weights="imagenet",
    geometry="paper",
    epochs=50,
    batch_size=8,
    crop_size=(320, 320),
    scale_min=0.5,
    scale_max=2.0,
    color=0.2,
    optimizer="adamw",
    learning_rate=5e-5,
    weight_decay=1e-4,
    warmup=0.05,
)
