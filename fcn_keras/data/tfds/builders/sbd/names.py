"""What SBD is called in the catalog."""

NAMES = {
    "sbd": dict(config=None, classes="21", origin="www2.eecs.berkeley.edu"),
}
