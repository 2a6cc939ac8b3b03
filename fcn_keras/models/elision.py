"""How little of a network's padding needs to be computed: pure arithmetic, one axis at a time.

The paper's networks pad their image by 100 pixels. What they make of these zeros is the same in
every row, but for the rows near the edge and those near the image: one row can stand for all.
"""

import math
from dataclasses import dataclass

from fcn_keras.models.geometry import Conv, Pool, Widen


@dataclass(frozen=True)
class Border:
    """The rows on one side of a map that do not see the image, counted from its outer edge.

    Attributes:
        disturbed: how many rows at the edge see the map's own padding, and so may differ from
            the others.
        alike: how many rows there are before the image is seen, the disturbed ones included.
    """

    disturbed: int
    alike: int

    def after(self, layer: Conv) -> "Border":
        """The border of the map that a layer makes, whatever the size of the image."""
        # Where strides do not come out even, the last window stands back from the edge (a
        # convolution) or reaches beyond it (a pooling) by less than a stride: the worst counts.
        slack = layer.stride - 1
        beyond, back = (slack, 0) if isinstance(layer, Pool) else (0, slack)
        disturbed = self.disturbed + layer.pad
        if disturbed or layer.pad:
            disturbed = -(-(disturbed + beyond) // layer.stride)
        alike = (self.alike + layer.pad - layer.extent - back) // layer.stride + 1
        return Border(disturbed, max(alike, 0))

    @property
    def constant(self) -> bool:
        """Whether there is a row that stands for the whole border."""
        return self.alike > self.disturbed


def thin_border(stages: list[list[Conv]], pad: int) -> tuple[int, list[Widen]]:
    """Finds how little padding does for a network that pads its image a lot.

    Between stages the border is made wider again by repeating a row of it, so that after the
    last one it is exactly what the whole padding would have given, and each stage computes as
    little of it as it can.

    Args:
        stages: the layers of each stage; the first layer without its padding of the image,
            which is looked for.
        pad: how many zeros the network has around its image.

    Returns:
        How many zeros are enough, and how to widen the border behind each stage. Without a
        gain all of the zeros, and nothing to widen.

    Example:

    >>> vgg = [[Conv(3), Conv(3, pad=1), Pool()], [Conv(3, pad=1), Conv(3, pad=1), Pool()]]
    >>> thin_border(vgg, 100)
    (8, [Widen(row=1, copies=6), Widen(row=2, copies=20)])
    """
    for thin in range(pad):
        border, reached, stride, widenings = Border(0, thin), thin, 1, []
        for stage, following in zip(stages, [*stages[1:], None], strict=True):
            for layer in stage:
                border = border.after(layer)
                stride *= layer.stride
            if not border.constant:
                break
            copies = _copies(border, following, pad - reached, stride)
            if copies is None:
                break
            widenings.append(Widen(border.disturbed, copies))
            border = Border(border.disturbed, border.alike + copies)
            reached += copies * stride
        else:
            return thin, widenings
    return pad, []


def _copies(border, following, missing, stride):
    """The fewest copies of a row that leave the next stage one, and its windows in their places.

    Behind the last stage all that is missing.
    """
    if following is None:
        return missing // stride if missing % stride == 0 else None
    further = stride * math.prod(layer.stride for layer in following)
    for copies in range(missing // stride + 1):
        after = Border(border.disturbed, border.alike + copies)
        for layer in following:
            after = after.after(layer)
        if after.constant and (missing - copies * stride) % further == 0:
            return copies
    return None
