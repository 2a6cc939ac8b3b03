"""What PASCAL-Context is called in the catalog."""

NAMES = {
    "pascal_context": dict(config=None, classes="60", origin="cs.stanford.edu, with VOC2010"),
}
