"""What a training step takes on this machine, in seconds and in memory, setting by setting.

Each measurement has a process of its own, `fcn_keras.bench.peers.training`: memory that a process
has had once it may keep.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from fcn_keras.bench.child import ChildFailed, run_child
from fcn_keras.bench.peers.network import check_variant
from fcn_keras.bench.peers.programs import SMP_BACKBONE, STEPS
from fcn_keras.bench.results import cell
from fcn_keras.errors import UserError
from fcn_keras.models.backbones import VGG16
from fcn_keras.system.progress import progress_bar
from fcn_keras.training.settings import Settings

PARTS = 4  # batches that the table's larger batch is made of

COMPARED = (
    "seconds_per_image",
    "cpu_seconds_per_image",
    "process_bytes",
    "step_bytes",
    "tensor_bytes",
)


@dataclass(frozen=True)
class Step:
    """A training step to measure.

    Attributes:
        variant, backbone, width, precision, remat, freeze: see
            `fcn_keras.training.settings.Settings`. Batch normalisation is frozen.
        size: height and width of the images.
        num_classes: number of classes.
        batch_size: images that go through the network together.
        accumulate: how many such batches make the step.
        elide_padding: see `fcn_keras.build`; of VGG16 alone.
        peer: who makes the step in place of this package, one of
            `fcn_keras.bench.peers.programs.STEPS`.
    """

    variant: str = "fcn8s"
    width: float = 1.0
    size: tuple[int, int] = (320, 320)
    num_classes: int = 21
    batch_size: int = 1
    precision: str = "float32"
    accumulate: int = 1
    remat: bool = False
    elide_padding: bool = True
    backbone: str = VGG16
    freeze: str = ""
    peer: str | None = None

    def __post_init__(self):
        Settings(
            variant=self.variant,
            width=self.width,
            crop_size=tuple(self.size),
            batch_size=self.batch_size,
            precision=self.precision,
            accumulate=self.accumulate,
            remat=self.remat,
            backbone=self.backbone,
            freeze=self.freeze,
        )

    @property
    def images(self) -> int:
        return self.batch_size * self.accumulate

    @property
    def in_torch(self) -> bool:
        return (self.peer or "").startswith("torch")

    def __str__(self):
        words = [self.precision, f"batch {self.batch_size}"]
        if self.accumulate > 1:
            words[1] = f"{self.accumulate} batches of {self.batch_size}"
        if self.remat:
            words.append("remat")
        if self.freeze:
            words.append(f"frozen {self.freeze}")
        if not self.elide_padding:
            words.append("no elision")
        if self.peer:
            words.insert(0, STEPS[self.peer].title)
        return ", ".join(words)


@dataclass
class MeasuredStep:
    """A step, and what its processes measured.

    Attributes:
        step: what was measured.
        figures: lists of what all processes found, see `fcn_keras.bench.peers.training.measure`.
        error: why there is nothing, in one line.
    """

    step: Step
    figures: dict[str, list[float]] = field(default_factory=dict)
    error: str = ""

    def measure(self, times: int):
        """Adds the figures of one process more."""
        asked = json.dumps({"step": asdict(self.step), "times": times})
        try:
            # Keras by itself has TensorFlow as it comes.
            answer = run_child(
                ["-m", "fcn_keras.bench.peers.training"], asked, self.step.peer != "keras"
            )
        except ChildFailed as error:
            self.error = str(error)
            return
        for name, figures in json.loads(answer).items():
            self.figures[name] = self.figures.get(name, []) + figures


def steps_to_compare(first: Step) -> list[Step]:
    """Returns the steps of the table: `first`, and it with one thing after the other changed."""
    batch = replace(first, batch_size=PARTS * first.batch_size)
    return [
        first,
        *([replace(first, elide_padding=False)] if first.backbone == VGG16 else []),
        replace(first, precision="mixed_bfloat16"),
        replace(first, precision="mixed_float16"),
        replace(first, remat=True),
        replace(first, accumulate=PARTS),
        batch,
        replace(batch, remat=True),
    ]


def peers_to_compare(first: Step) -> list[Step]:
    """Returns `first`, and what others make in its place: the same network, or one on its backbone.

    Raises:
        UserError: if the others have no such network.
    """
    check_variant(first.variant)
    names = [name for name, peer in STEPS.items() if peer.backbone == first.backbone]
    if not names:
        backbones = dict.fromkeys(peer.backbone for peer in STEPS.values())
        raise UserError(
            f"--peers: have {' and '.join(backbones)} alone. Received: --backbone {first.backbone}."
        )
    if first.backbone == SMP_BACKBONE and first.width != 1:
        raise UserError(f"--width: must be 1 for --peers on {first.backbone}.")
    return [first, *(replace(first, peer=name) for name in names)]


def bench_training(steps: Sequence[Step], rounds: int = 2, times: int = 2) -> list[MeasuredStep]:
    """Measures training steps in turns, each time in a new process.

    Args:
        steps: what to measure; ratios are to the first.
        rounds: how many processes each has.
        times: how many steps a process takes the time of, fewer if they are slow; it makes one
            more before, which compiles.

    Returns:
        The figures of each step. One that fails, for want of memory, say, says why.

    Raises:
        UserError: if the first step fails, which all others are compared with.
    """
    measured = [MeasuredStep(step) for step in steps]
    with progress_bar("bench train", rounds * len(measured), "process") as bar:
        for _ in range(rounds):
            for each in measured:
                bar.set_postfix_str(str(each.step))
                if not each.error:
                    each.measure(times)
                if measured[0].error:
                    raise UserError(f"{steps[0]} cannot be measured: {measured[0].error}")
                bar.update()
    return measured


def results(measured: Sequence[MeasuredStep]) -> dict:
    """Returns the figures with their medians, and the ratios of these to the first step's.

    Times are compared by image, as a step may have more images than the first one's.
    """
    rows: list[dict] = []
    for each in measured:
        row: dict = {"name": str(each.step), "step": asdict(each.step), "images": each.step.images}
        rows.append(row)
        if each.error:
            row["error"] = each.error
            continue
        for name, figures in each.figures.items():
            row[name] = statistics.median(figures) if figures else None
        row["seconds_per_image"] = row["seconds"] / each.step.images
        row["cpu_seconds_per_image"] = row.pop("cpu_seconds") / each.step.images
        row["ratios"] = {
            name: row[name] / rows[0][name] if row[name] and rows[0][name] else None
            for name in COMPARED
        }
        row["measured"] = each.figures
    return {"rows": rows}


def table(results: dict) -> str:
    """Returns `results` as a table for people."""
    rows = results["rows"]
    width = max(len(row["name"]) for row in rows)
    titles = ["s/step"]
    for title in ("s/image", "CPU s", "MiB", "step MiB", "tensors"):
        titles += [title, "ratio"]
    lines = [" ".join([" " * width, *(f"{title:>8}" for title in titles)])]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:{width}}  not measured: {row['error']}")
            continue
        cells = [f"{row['seconds']:.3f}"]
        for name in COMPARED:
            in_bytes = name.endswith("bytes")
            figure, ratio = row[name], row["ratios"][name]
            if in_bytes and figure is not None:
                figure /= 2**20
            cells += [cell(figure, ".0f" if in_bytes else ".3f"), cell(ratio, ".2f", "x")]
        lines.append(" ".join([f"{row['name']:{width}}", *(f"{text:>8}" for text in cells)]))
    return "\n".join(
        [
            *lines,
            "CPU s: of all cores, by image. MiB: at the most during the steps, beyond those before",
            "the network was built; step MiB: beyond those before the first step; tensors: the MiB",
            "of TensorFlow's tensors alone, likewise. Ratios: of what stands before them, to the",
            "first row.",
        ]
    )
