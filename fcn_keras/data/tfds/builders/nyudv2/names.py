"""What NYUDv2 is called in the catalog."""

NAMES = {
    "nyudv2": dict(config="color", classes="40", origin="dl.caffe.berkeleyvision.org"),
    "nyudv2/hha": dict(config="hha", classes="40", origin="dl.caffe.berkeleyvision.org"),
    "nyudv2/color_hha": dict(
        config="color_hha", classes="40", origin="dl.caffe.berkeleyvision.org"
    ),
}
