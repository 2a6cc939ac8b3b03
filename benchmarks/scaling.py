"""What training costs on many GPUs, on paper: the tables and the figure of docs/scaling.md.

    python benchmarks/scaling.py            # a second: writes docs/scaling.png, prints Markdown
    python benchmarks/scaling.py --measure  # minutes: steps of this machine beside their FLOPs

The arithmetic is that of `fcn_keras.models.cost`. What is assumed of machines stands here, in
capitals.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

from fcn_keras.bench.results import markdown
from fcn_keras.models.cost import cost
from fcn_keras.system.processor import use_onednn

PEAK = 989e12  # FLOP/s in bfloat16 of an NVIDIA H100 SXM, without sparsity
PEAK_SHARE = 0.4  # of it that convolutions of this size are taken to reach
NVLINK = 450e9  # bytes/s that a GPU sends within its machine (900 GB/s counts both ways)
NIC = 50e9  # bytes/s of a 400 Gb/s InfiniBand adapter, each way
LINK_SHARE = 0.8  # of either that a ring is taken to reach
HOP, FAR_HOP = 1e-6, 5e-6  # seconds from a GPU to the next, in its machine and in another
MACHINE = 8  # GPUs in a machine
BUCKETS = (25 << 20, 100 << 20)  # bytes of gradients from which on they are summed in one go
JITTER = 0.02  # standard deviation of a GPU's step, as a share of it

NETWORKS = {  # what a machine sends to others
    "8 adapters a machine (one per GPU)": 8 * NIC,
    "1 adapter a machine": NIC,
    "100 Gb/s Ethernet": 12.5e9,
}
GPUS = (8, 64, 512)
BATCHES = (1, 4, 16)
SIZES = (224, 500, 1000, 2000)
FORMS = {
    "paper": {},
    "paper, not elided": {"elide_padding": False},
    "same": {"geometry": "same"},
}
IMAGE = cost("fcn8s", (500, 500))


def ring_seconds(size, gpus, bandwidth):
    """An all-reduce by a ring through all GPUs, machine after machine, at its slowest link."""
    if gpus == 1:
        return 0.0
    slowest = NVLINK if gpus <= MACHINE else min(NVLINK, bandwidth)
    far = 0 if gpus <= MACHINE else gpus // MACHINE
    lap = far * FAR_HOP + (gpus - far) * HOP
    steps = 2 * (gpus - 1)
    return steps / gpus * (size / (slowest * LINK_SHARE) + lap)


def step_seconds(image, batch, gpus, bandwidth, bucket=None, dtype="float32"):
    """A step, from the forward pass to the last gradient's sum; the update is left out.

    Gradients are summed in buckets, in the order in which the backward pass makes them, while it
    goes on; one bucket at a time. Without buckets all are summed behind it.
    """
    rate = PEAK * PEAK_SHARE
    now = free = batch * image.forward_flops / rate
    filled = 0
    for layer in reversed(image.layers):
        now += batch * layer.backward_flops / rate
        filled += layer.gradient_bytes(dtype)
        if bucket and filled >= bucket:
            free = max(free, now) + ring_seconds(filled, gpus, bandwidth)
            filled = 0
    return max(free, now) + (ring_seconds(filled, gpus, bandwidth) if filled else 0)


def efficiency(batch, gpus, bandwidth, overlap, dtype="float32", image=IMAGE):
    """The rate of images on many GPUs over as many times that of one.

    With overlap, buckets are of the size that is quickest: each pays the ring's latency.
    """
    buckets = (None, *BUCKETS) if overlap else (None,)
    steps = (step_seconds(image, batch, gpus, bandwidth, bucket, dtype) for bucket in buckets)
    return step_seconds(image, batch, 1, bandwidth) / min(steps)


def slowest_of(gpus):
    """How much longer the slowest of many takes than one of them: normal steps, by Blom."""
    return JITTER * statistics.NormalDist().inv_cdf((gpus - 0.375) / (gpus + 0.25))


def show(head, rows):
    print(markdown(head, [[str(cell) for cell in row] for row in rows]), end="\n\n")


def tables(jpeg_bytes, core_rate):
    print("GFLOPs of a forward pass, and MB of activations in float32\n")
    networks = [("fcn8s", name, options) for name, options in FORMS.items()]
    networks += [(variant, "paper", {}) for variant in ("fcn16s", "fcn32s", "fcn-alexnet")]
    rows = []
    for variant, name, options in networks:
        found = [cost(variant, (size, size), **options) for size in SIZES]
        cells = [f"{c.forward_flops / 1e9:,.0f}, {c.activation_bytes() / 1e6:,.0f}" for c in found]
        rows.append([f"`{variant}`, {name}", *cells])
    show(["", *(f"{size}x{size}" for size in SIZES)], rows)

    print("Gradients that a step sums, MB\n")
    rows = []
    for variant, width in (("fcn8s", 1), ("fcn8s", 0.25), ("fcn-alexnet", 1)):
        found = cost(variant, (500, 500), width=width)
        sizes = [
            sum(x.gradient_bytes(dtype) for x in found.layers if x.name not in left_out)
            for left_out in ((), ("fc6",))
            for dtype in ("float32", "bfloat16")
        ]
        cells = (f"{size / 1e6:.0f}" for size in sizes)
        rows.append([f"`{variant}`, width {width}", f"{found.parameters / 1e6:.1f}", *cells])
    show(["", "parameters, M", "float32", "bfloat16", "float32 but fc6", "bfloat16 but fc6"], rows)

    rate = PEAK * PEAK_SHARE
    step = step_seconds(IMAGE, 1, 1, NIC)
    print(
        f"Efficiency, %: without and with overlap. Computing: {1000 * step:.2f} ms an image, ",
        end="",
    )
    print(f"{rate / 1e12:.0f} TFLOP/s\n")
    rows = []
    for name, bandwidth in NETWORKS.items():
        for gpus in GPUS:
            if gpus == MACHINE and bandwidth != 8 * NIC:
                continue
            cells = [
                " and ".join(
                    f"{100 * efficiency(batch, gpus, bandwidth, overlap):.0f}"
                    for overlap in (False, True)
                )
                for batch in BATCHES
            ]
            ring = 1000 * ring_seconds(IMAGE.gradient_bytes(), gpus, bandwidth)
            name_here = "NVLink alone" if gpus == MACHINE else name
            rows.append([name_here, gpus, f"{ring:.1f}", *cells])
    show(["", "GPUs", "ring, ms", *(f"batch {batch} a GPU" for batch in BATCHES)], rows)

    print("At 64 GPUs with one adapter, batch 4, with overlap, %\n")
    for name, image, dtype in (
        ("float32 gradients", IMAGE, "float32"),
        ("bfloat16 gradients", IMAGE, "bfloat16"),
        ("float32, fc6 fixed", without_fc6(IMAGE), "float32"),
    ):
        print(f"- {name}: {100 * efficiency(4, 64, NIC, True, dtype, image):.0f}")
    print("\nImages to read, with batch 4 and 8 adapters, with overlap\n")
    rows = []
    for gpus in (1, *GPUS):
        images = gpus / step * efficiency(4, gpus, 8 * NIC, True)
        rows.append(
            [
                gpus,
                f"{images:,.0f}",
                f"{images * jpeg_bytes / 1e6:,.0f}",
                f"{images / core_rate:,.0f}",
                f"{images / core_rate / gpus:.1f}",
                f"{100 * slowest_of(gpus):.1f}" if gpus > 1 else "",
            ]
        )
    head = [
        "GPUs",
        "images/s",
        "MB/s of JPEG",
        "cores",
        "cores a GPU",
        "waiting for the slowest, %",
    ]
    show(head, rows)


def without_fc6(image):
    """The same with fc6's kernel fixed: its gradient is neither computed nor summed."""
    layers = (replace(x, trained=x.trained and x.name != "fc6") for x in image.layers)
    return replace(image, layers=tuple(layers))


def draw(path):
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    within, beyond = [2, 4, 8], [8, 16, 32, 64, 128, 256, 512, 1024]
    figure, axes = plt.subplots(1, len(BATCHES), figsize=(9, 3.7), sharey=True)
    for axis, batch in zip(axes, BATCHES, strict=True):
        axis.axvspan(within[0], MACHINE, color="0.94", zorder=0)
        for overlap, style in ((True, "-"), (False, "--")):
            lines = [(within, NVLINK, "0.35")]
            colors = ("C0", "C1", "C3")
            lines += [(beyond, b, c) for b, c in zip(NETWORKS.values(), colors, strict=True)]
            for gpus, bandwidth, color in lines:
                found = [100 * efficiency(batch, n, bandwidth, overlap) for n in gpus]
                mark = dict(marker=".", markevery=slice(gpus is beyond, None), clip_on=False)
                axis.plot(gpus, found, style, color=color, **mark)
        axis.set_xscale("log", base=2)
        axis.set_xticks([2, 8, 64, 512], [2, 8, 64, 512])
        axis.minorticks_off()
        axis.set_xlim(within[0], beyond[-1])
        axis.set_ylim(0, 100)
        axis.grid(axis="y", color="0.9")
        axis.set_title(f"batch {batch} a GPU")
        axis.set_xlabel("GPUs")
    axes[0].set_ylabel("efficiency, %")
    styles = {
        "within a machine: NVLink": dict(color="0.35"),
        **{name: dict(color=color) for name, color in zip(NETWORKS, colors, strict=True)},
        "gradients summed during the backward pass": dict(color="k"),
        "behind it": dict(color="k", linestyle="--"),
    }
    handles = [plt.Line2D([], [], label=name, **style) for name, style in styles.items()]
    figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.savefig(path, dpi=150)


def measure(rounds):
    """Steps of several sizes and widths, in turns, each in a process of its own."""
    from fcn_keras.bench.steps import Step, bench_training, results

    steps = [Step(width=0.25, size=(size, size), batch_size=2) for size in (320, 224, 500)]
    steps += [Step(width=width, size=(320, 320), batch_size=2) for width in (0.125, 0.5)]
    flops, rows = [], []
    for step in steps:
        found = cost(step.variant, step.size, step.num_classes, width=step.width)
        flops.append(found.forward_flops + found.backward_flops)
    measured = results(bench_training(steps, rounds, 3))["rows"]
    for step, count, row in zip(steps, flops, measured, strict=True):
        seconds = row["cpu_seconds_per_image"]
        ratio, expected = row["ratios"]["cpu_seconds_per_image"], count / flops[0]
        rows.append(
            [
                f"{step.size[0]}x{step.size[1]}, width {step.width}",
                f"{count / 1e9:.1f}",
                f"{seconds:.2f}",
                f"{expected:.2f}",
                f"{ratio:.2f}",
                f"{count / seconds / 1e9:.0f}",
            ]
        )
    head = ["", "GFLOPs an image", "CPU s", "FLOPs, ratio", "CPU s, ratio", "GFLOP/s a core"]
    show(head, rows)


def measure_sum(rounds, width=0.25, size=(320, 320)):
    """A step of two images on one device, of one on each of two, and the sum of gradients alone.

    The devices are logical, on the same cores: what they compute is the same.
    """
    import tensorflow as tf

    from fcn_keras.models.fcn import build
    from fcn_keras.system.devices import make_strategy
    from fcn_keras.training.task import SegmentationTask

    two = make_strategy("cpu:2")
    gradients = [x.parameters for x in cost("fcn8s", size, width=width).layers if x.trained]
    batch = tf.zeros((2, *size, 3), "uint8"), tf.zeros((2, *size, 1), "uint8")
    parts = {}
    for name, strategy in {
        "one device": tf.distribute.MirroredStrategy(["CPU:0"]),
        "two devices": two,
    }.items():
        with strategy.scope():
            task = SegmentationTask(build("fcn8s", weights=None, width=width))
            task.compile("adam", jit_compile=False)
        images = tf.data.Dataset.from_tensors(batch).repeat()
        images = iter(strategy.experimental_distribute_dataset(images))
        task.make_train_function()
        parts[name] = lambda task=task, images=images: task.train_function(images)["loss"].numpy()

    @tf.function
    def add_up(value):
        def here():
            replica = tf.distribute.get_replica_context()
            filled = [tf.fill((number,), value) for number in gradients]
            return tf.add_n([x[0] for x in replica.all_reduce("sum", filled)])

        return two.run(here)

    parts["the sum alone"] = lambda: two.experimental_local_results(add_up(tf.constant(1.0)))[
        0
    ].numpy()
    times = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, part in parts.items():
            cpu, wall = time.process_time(), time.perf_counter()
            part()
            if number:  # the first one compiles
                found = time.process_time() - cpu, time.perf_counter() - wall
                times[name].append(found)
    rows = []
    for name, found in times.items():
        cpu, wall = (statistics.median(x) for x in zip(*found, strict=True))
        rows.append([name, f"{cpu:.3f}", f"{wall:.3f}"])
    show(["", "CPU s", "s"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure steps on this machine")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each step")
    parser.add_argument("--jpeg-bytes", type=float, default=98e3, help="of an image")
    parser.add_argument("--core-rate", type=float, default=80, help="images/s a core prepares")
    parser.add_argument("--figure", default=Path(__file__).parents[1] / "docs" / "scaling.png")
    args = parser.parse_args()
    if args.measure:
        use_onednn()  # before TensorFlow is imported
        measure(args.rounds)
        measure_sum(5 * args.rounds)
        return
    tables(args.jpeg_bytes, args.core_rate)
    draw(args.figure)


if __name__ == "__main__":
    main()
