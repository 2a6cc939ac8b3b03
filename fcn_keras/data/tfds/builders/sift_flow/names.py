"""What SIFT Flow is called in the catalog."""

NAMES = {
    "siftflow": dict(config=None, classes="33+3", origin="www.cs.unc.edu"),
}
