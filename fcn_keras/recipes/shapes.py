"""The embedded set `shapes`: a first run on any machine, in minutes."""

SETTINGS = dict(
    dataset="shapes",
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.1,
    epochs=10,
    batch_size=16,
    crop_size=(96, 96),
    optimizer="adam",
    learning_rate=7e-4,
    warmup=0.05,
)
