"""What all programs are compared on: a network, and the image that it labels."""

from dataclasses import dataclass

from fcn_keras.bench.peers.layers import fcn_layers
from fcn_keras.models.cost import Cost, cost


@dataclass(frozen=True)
class Forward:
    """A network's forward pass on one image.

    Attributes:
        variant, num_classes, width, geometry: see `fcn_keras.build`.
        size: height and width of the image.
        matrix: rows and columns of the matrices whose product is the machine's ceiling.

    Raises:
        UserError: if other programs do not have the variant.
    """

    variant: str = "fcn8s"
    width: float = 1.0
    size: tuple[int, int] = (500, 500)
    geometry: str = "paper"
    num_classes: int = 21
    matrix: int = 4096

    def __post_init__(self):
        fcn_layers(self.variant, self.width, self.geometry)

    def cost(self, elide_padding: bool) -> Cost:
        """Returns what the network computes for the image, with all of the padding or without."""
        return cost(
            self.variant,
            self.size,
            self.num_classes,
            geometry=self.geometry,
            width=self.width,
            elide_padding=elide_padding,
        )
