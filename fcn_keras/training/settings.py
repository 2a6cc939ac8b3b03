"""The settings of a training run, and the check that they make sense."""

import json
import math
from dataclasses import asdict, dataclass, fields

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import GEOMETRIES, OUTPUT_STRIDES, scaled
from fcn_keras.models.backbones import BACKBONES, VGG16
from fcn_keras.models.upsampling import BILINEAR, UPSAMPLINGS, upsampling_of
from fcn_keras.models.variants import VARIANTS
from fcn_keras.training.setting_checks import BOUNDS, requirements
from fcn_keras.training.setting_types import KINDS

# How a training finds the other machines that take part.
CLUSTERS = ("none", "tf_config", "slurm")

# What the sum of the pixels' losses is divided by.
NORMALIZATIONS = ("sum", "valid_pixels", "image")

# The values of a setting that is one of a few.
CHOICES: dict[str, tuple[str | int, ...]] = {
    "variant": VARIANTS,
    "backbone": BACKBONES,
    "geometry": tuple(GEOMETRIES),
    "output_stride": OUTPUT_STRIDES,
    "upsampling": UPSAMPLINGS,
    "optimizer": ("adam", "adamw", "sgd", "caffe_sgd"),
    "schedule": ("constant", "cosine", "poly"),
    "normalization": NORMALIZATIONS,
    "batch_norm": ("auto", "frozen", "synced"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a training run computes.

    A recipe gives the values that differ from these; the command line overrides both.

    Attributes:
        variant: which network, see `fcn_keras.build`; so are backbone, weights, geometry,
            output_stride, width, dropout, upsampling and input_mean.
        learn_upsampling: the older name: True is `upsampling` "learned". It says whether the
            transposed convolutions learn, whichever of the two was given.
        dataset: registered name or folder.
        val_share: which share of a folder without splits to validate on; None for what its
            `dataset.json` says, or 0.2.
        channels: how many channels the images of a folder have, whose numbers are taken as stored,
            see `fcn_keras.data.folders.folder.load_folder`; None for photographs, or what its
            `dataset.json` says.
        recipe: which recipe the settings started from.
        init_from: a run or `.keras` file whose layers are copied where name and shape agree, and
            whose preprocessing is taken over; `weights` does not count then.
        epochs: how often every training image is seen.
        steps: how many steps to train for instead of `epochs`, each of `accumulate` batches, or for
            caffe_sgd of one; rounded up so that all epochs have as many. 0 to go by `epochs`.
        batch_size: images in a batch, over all replicas.
        crop_size: height and width of the training crops; None for whole images, one at a time,
            as the paper has it.
        replacement: whether images are drawn anew each time, as the reference does, and not
            each once an epoch.
        flip, scale_min, scale_max, color, class_crops, vertical_flip, rotation, blur: see
            `fcn_keras.data.augmentation.Augmentation`.
        loss: losses that are added up, see `fcn_keras.training.losses.names.parse_loss`.
        label_smoothing: see `fcn_keras.PixelCrossEntropy`; for cross-entropy alone.
        class_weights: "none", "sqrt_median_frequency" or weights of classes by name, see
            `fcn_keras.training.losses.class_weights.chosen_weights`.
        normalization: what the loss is divided by, see `fcn_keras.PixelCrossEntropy`; for
            cross-entropy and focal.
        optimizer, learning_rate, momentum, weight_decay: the update rule; `momentum` is for sgd
            and caffe_sgd. `weight_decay` is decoupled from the gradient for adamw, and a part
            of it for caffe_sgd, see `fcn_keras.CaffeSGD`.
        clip_norm: length to which the gradient of each variable is cut where it is longer; 0 for
            none. Not for caffe_sgd.
        accumulate: how many batches make one step. Their images count as one large batch, but
            only a batch at a time is in memory. caffe_sgd averages their gradients, as Caffe's
            `iter_size` does, and counts each as a step.
        remat: whether to compute the activations of the first blocks twice instead of keeping
            them for the gradient, see `fcn_keras.training.recomputation`.
        batch_norm: how layers of batch normalisation, where a network has any, are trained:
            "frozen" leaves all of them as it was, "synced" learns them, with the statistics of
            the whole batch, over all replicas; "auto" is "frozen" where they were trained before
            (`weights`, `init_from`) and "synced" where they are random.
        schedule: "constant"; "cosine": down to zero along half a cosine; "poly": down to zero along
            (1 - t)^0.9.
        warmup: share of all steps over which the learning rate rises from zero; not for constant.
        freeze: which layers do not learn, see `fcn_keras.training.freezing.freeze`.
        freeze_epochs: how many epochs they do not; 0 for all.
        head_learning_rate_factor: how many times as fast as the trunk the layers learn that score
            and upsample.
        ema: momentum of the moving average of the weights, which is what is validated, kept and
            exported then; 0 for the weights themselves.
        precision: Keras dtype policy.
        validate_every: epochs from one validation to the next; the last one is always validated.
        patience: after how many validations in a row without a better mean IU training ends; 0 for
            never.
        seed: of everything that is drawn.
        deterministic: whether only operations with one possible result are used.
    """

    variant: str = "fcn8s"
    dataset: str = "shapes"
    val_share: float | None = None
    channels: int | None = None
    recipe: str = ""
    backbone: str = VGG16
    weights: str = "imagenet"
    init_from: str = ""
    geometry: str = "paper"
    output_stride: int = 32
    width: float = 1.0
    dropout: float = 0.5
    upsampling: str = ""
    learn_upsampling: bool | None = None
    input_mean: tuple[float, ...] | None = None
    epochs: int = 50
    steps: int = 0
    batch_size: int = 8
    crop_size: tuple[int, int] | None = (320, 320)
    replacement: bool = False
    flip: bool = True
    scale_min: float = 1.0
    scale_max: float = 1.0
    color: float = 0.0
    class_crops: float = 0.0
    vertical_flip: bool = False
    rotation: float = 0.0
    blur: float = 0.0
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    class_weights: str = "none"
    normalization: str = "valid_pixels"
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    accumulate: int = 1
    remat: bool = False
    batch_norm: str = "auto"
    schedule: str = "cosine"
    warmup: float = 0.02
    freeze: str = ""
    freeze_epochs: int = 0
    head_learning_rate_factor: float = 1.0
    ema: float = 0.0
    precision: str = "float32"
    validate_every: int = 1
    patience: int = 0
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self):
        for field in fields(self):
            is_one, words = KINDS[field.type]
            self._check(field.name, is_one(getattr(self, field.name)), words)
        upsampling = upsampling_of(self.upsampling, self.learn_upsampling)
        object.__setattr__(self, "upsampling", upsampling)
        object.__setattr__(self, "learn_upsampling", upsampling != BILINEAR)
        for name, allowed in CHOICES.items():
            self._check(
                name, getattr(self, name) in allowed, f"one of {', '.join(map(str, allowed))}"
            )
        for words, (is_allowed, names) in BOUNDS.items():
            for name in names:
                self._check(name, is_allowed(getattr(self, name)), words)
        for name, right, words in requirements(self):
            self._check(name, right, words)
        if self.scale_max < self.scale_min:
            raise UserError(
                "`scale_min` must not be above `scale_max`. "
                f"Received: {self.scale_min} and {self.scale_max}."
            )

    def _check(self, name, right, allowed):
        if not right:
            raise UserError(f"`{name}` must be {allowed}. Received: {getattr(self, name)!r}.")

    def __str__(self):
        width = max(len(field.name) for field in fields(self))
        return "\n".join(f"  {name:{width}}  {value}" for name, value in asdict(self).items())

    @classmethod
    def completed(cls, config: dict) -> dict:
        """Returns the settings of an older `config.json` with those that there were not yet.

        These had the effect that they now have by themselves, or by what they were called then.
        """
        upsampling = upsampling_of(config.get("upsampling"), config.get("learn_upsampling"))
        return {**cls().config(), **config, "upsampling": upsampling}

    def config(self) -> dict:
        """Returns the settings as `config.json` holds them: with lists for tuples."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def images_per_step(self) -> int:
        """How many images a step of the optimizer is made of."""
        return self.batch_size * (1 if self.optimizer == "caffe_sgd" else self.accumulate)

    @property
    def learns_statistics(self) -> bool:
        """Whether layers of batch normalisation learn, see `batch_norm`."""
        if self.batch_norm == "auto":
            return self.weights == "none" and not self.init_from
        return self.batch_norm == "synced"

    def length(self, images: int) -> tuple[int, int]:
        """Returns how many epochs a training on so many images has, and how many steps each."""
        steps = math.ceil(images / self.images_per_step)
        if not self.steps:
            return self.epochs, steps
        epochs = math.ceil(self.steps / steps)
        return epochs, math.ceil(self.steps / epochs)

    def narrowed(self) -> list[str]:
        """Returns a line for each way in which the network is less than the paper's."""
        random = {
            "random weights to start from, not ImageNet's (--weights imagenet)": (
                self.weights == "none" and not self.init_from
            )
        }
        first, last, fc = (scaled(channels, self.width) for channels in (64, 512, 4096))
        if self.backbone == VGG16:
            ways = {
                f"{first}..{last} channels in the convolutions and {fc} in fc6 and fc7, where "
                "VGG16 has 64..512 and 4096 (--width 1)": self.width != 1,
                **random,
                "no padding of the image by 100 pixels (--geometry paper)": (
                    self.geometry != "paper"
                ),
            }
        else:
            ways = {
                f"{self.backbone} in place of the paper's VGG16, which is for a GPU "
                "(--recipe folder)": True,
                f"{self.width} times its channels (--width 1)": self.width != 1,
                **random,
            }
        return [f"narrowed: {way}" for way, is_so in ways.items() if is_so]
