"""The networks of the paper by name."""

ALEXNET = "fcn-alexnet"

HHA = "fcn32s-hha"

COLOR_HHA = "fcn32s-color-hha"

# Networks that take images of certain channels alone.
OWN_CHANNELS = (HHA, COLOR_HHA)

VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", ALEXNET, HHA, COLOR_HHA)
