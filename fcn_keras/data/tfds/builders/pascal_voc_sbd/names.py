"""What PASCAL VOC with the labels of SBD is called in the catalog."""

NAMES = {
    "voc2011_sbd": dict(config="2011", classes="21", origin="voc2011 and sbd"),
    "voc2012_sbd": dict(config="2012", classes="21", origin="voc2012 and sbd"),
}
