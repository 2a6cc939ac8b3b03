"""The settings of a training run, and the check that they make sense."""

import json
from dataclasses import asdict, dataclass, fields

from fcn_keras.errors import UserError
from fcn_keras.names import VARIANTS

CHOICES = {
    "variant": VARIANTS,
    "geometry": ("paper", "same"),
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("constant", "cosine"),
    "normalization": ("sum", "valid_pixels", "image"),
    "class_weights": ("none", "sqrt_median_frequency"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a training run computes.

    A recipe gives the values that differ from these; the command line overrides both.

    Attributes:
        variant: which network, see `fcn_keras.build`; so are weights, geometry, width, dropout
            and learn_upsampling.
        dataset: registered name or folder.
        recipe: which recipe the settings started from.
        init_from: a run or `.keras` file whose layers are copied where name and shape agree.
        epochs: how often every training image is seen.
        steps: how many batches to train on instead of `epochs`; 0 to go by `epochs`.
        batch_size: images in a batch, over all replicas.
        crop_size: height and width of the training crops.
        flip, scale_min, scale_max, color: see `fcn_keras.data.pipeline.Augmentation`.
        class_weights: "none", or "sqrt_median_frequency": pixels of a class weigh the square
            root of the median class frequency over its own.
        normalization: what the loss is divided by, see `fcn_keras.losses.PixelCrossEntropy`.
        optimizer, learning_rate, momentum, weight_decay: the update rule; `momentum` is for
            sgd, `weight_decay` is decoupled from the gradient.
        schedule: "constant", or "cosine": down to zero along half a cosine.
        warmup: share of all steps over which the learning rate rises from zero.
        precision: Keras dtype policy.
        validate_every: epochs from one validation to the next; the last one is always validated.
        seed: of everything that is drawn.
        deterministic: whether only operations with one possible result are used.
    """

    variant: str = "fcn8s"
    dataset: str = "shapes"
    recipe: str = ""
    weights: str = "imagenet"
    init_from: str = ""
    geometry: str = "paper"
    width: float = 1.0
    dropout: float = 0.5
    learn_upsampling: bool = False
    epochs: int = 50
    steps: int = 0
    batch_size: int = 8
    crop_size: tuple[int, int] = (320, 320)
    flip: bool = True
    scale_min: float = 1.0
    scale_max: float = 1.0
    color: float = 0.0
    class_weights: str = "none"
    normalization: str = "valid_pixels"
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.02
    precision: str = "float32"
    validate_every: int = 1
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UserError(
                    f"`{name}` must be one of {', '.join(allowed)}. Received: {value!r}."
                )
        positive = ("epochs", "batch_size", "validate_every", "learning_rate", "width", "scale_min")
        for name in positive:
            if not getattr(self, name) > 0:
                raise UserError(f"`{name}` must be above 0. Received: {getattr(self, name)}.")
        for name in ("steps", "color", "momentum", "weight_decay", "warmup", "seed"):
            if not getattr(self, name) >= 0:
                raise UserError(f"`{name}` must not be below 0. Received: {getattr(self, name)}.")
        for name in ("dropout", "momentum", "warmup"):
            if not getattr(self, name) < 1:
                raise UserError(f"`{name}` must be below 1. Received: {getattr(self, name)}.")
        if min(self.crop_size) < 1:
            raise UserError(f"`crop_size` must be at least 1. Received: {self.crop_size}.")
        if self.scale_max < self.scale_min:
            raise UserError(
                "`scale_max` must not be below `scale_min`. "
                f"Received: {self.scale_max} and {self.scale_min}."
            )

    def __str__(self):
        width = max(len(field.name) for field in fields(self))
        return "\n".join(f"  {name:{width}}  {value}" for name, value in asdict(self).items())

    def as_json(self) -> dict:
        """Returns the settings as JSON would give them back, to compare them with a file's."""
        return json.loads(json.dumps(asdict(self)))

    def narrowed(self) -> list[str]:
        """Returns a line for each way in which the network is less than the paper's."""
        lines = []
        if self.width != 1:
            channels = [max(1, round(c * self.width)) for c in (64, 512, 4096)]
            lines.append(
                "narrowed: {}..{} channels in the convolutions and {} in fc6 and fc7, where VGG16 "
                "has 64..512 and 4096 (--width 1)".format(*channels)
            )
        if self.weights == "none" and not self.init_from:
            lines.append(
                "narrowed: random weights to start from, not ImageNet's (--weights imagenet)"
            )
        if self.geometry != "paper":
            lines.append("narrowed: no padding of the image by 100 pixels (--geometry paper)")
        return lines
