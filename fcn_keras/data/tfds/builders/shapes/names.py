"""What the drawn shapes are called in the catalog."""

NAMES = {
    "shapes": dict(config=None, classes="5", origin="drawn by this package"),
}
