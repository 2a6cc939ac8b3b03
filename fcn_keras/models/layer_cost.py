"""What a layer of a network takes for one image."""

from dataclasses import dataclass

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class LayerCost:
    """What a layer takes for one image.

    Attributes:
        name: as in the Keras model.
        height, width, channels: shape of its output.
        macs: products, each with a sum, of a forward pass.
        parameters: kernel and bias.
        trained: whether it learns: its gradient is computed and summed over devices.
        first: whether it sees the image, whose gradient nobody asks for.
        float32: whether its output is float32 under every precision policy.
    """

    name: str
    height: int
    width: int
    channels: int
    macs: int = 0
    parameters: int = 0
    trained: bool = False
    first: bool = False
    float32: bool = False

    @property
    def forward_flops(self) -> int:
        return 2 * self.macs

    @property
    def backward_flops(self) -> int:
        """As much again for the gradient of the kernel, and for that of the layer's input."""
        return self.forward_flops * (self.trained + (not self.first))

    def activation_bytes(self, dtype: str = "float32") -> int:
        numbers = self.height * self.width * self.channels
        return numbers * BYTES["float32" if self.float32 else dtype]

    def gradient_bytes(self, dtype: str = "float32") -> int:
        return self.parameters * BYTES[dtype] * self.trained
