"""What PASCAL-Context is called, and which of its 459 labels are classes."""

NAMES = {
    "pascal_context": dict(config=None, classes="60", origin="cs.stanford.edu, with VOC2010"),
}

# The 59 most frequent labels in the order of the reference, each with its value in the .mat files,
# from data/pascal-context of github.com/shelhamer/fcn.berkeleyvision.org (BSD 2-clause). There the
# labels of diningtable, clothes and bedcloth are called table, cloth and bedclothes.
_CLASSES = """
aeroplane:2 bicycle:23 bird:25 boat:31 bottle:34 bus:45 car:59 cat:65 chair:72 cow:98
diningtable:397 dog:113 horse:207 motorbike:258 person:284 pottedplant:308 sheep:347 sofa:368
train:416 tvmonitor:427 bag:9 bed:18 bench:22 book:33 building:44 cabinet:46 ceiling:68
clothes:80 computer:85 cup:104 door:115 fence:144 floor:158 flower:159 food:162 grass:187
ground:189 keyboard:220 light:232 mountain:259 mouse:260 curtain:105 platform:296 sign:355
plate:295 road:324 rock:326 shelves:349 sidewalk:354 sky:360 snow:366 bedcloth:19 track:415
tree:420 truck:424 wall:440 water:445 window:454 wood:458
"""

VALUES = {name: int(value) for name, value in (pair.split(":") for pair in _CLASSES.split())}
LABELS = 459
CLASSES = ("background", *VALUES)
