"""What PASCAL VOC is called in the catalog."""

NAMES = {
    "voc2011": dict(config="2011", classes="21", origin="host.robots.ox.ac.uk"),
    "voc2012": dict(config="2012", classes="21", origin="host.robots.ox.ac.uk"),
}
