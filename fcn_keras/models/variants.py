"""The networks of the paper by name."""

ALEXNET = "fcn-alexnet"

HHA = "fcn32s-hha"

COLOR_D = "fcn32s-color-d"

COLOR_HHA = "fcn32s-color-hha"

# Networks that take images of channels of their own, and no others.
OWN_CHANNELS = (HHA, COLOR_D, COLOR_HHA)

VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce", ALEXNET, HHA, COLOR_D, COLOR_HHA)

# FCN-32s with one trunk, whatever its images show.
FCN32S = ("fcn32s", HHA, COLOR_D)


def channels_of(variant: str) -> int:
    """Returns how many channels the images of a network have."""
    return {COLOR_D: 4, COLOR_HHA: 6}.get(variant, 3)
