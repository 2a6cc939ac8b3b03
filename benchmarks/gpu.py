"""FCN-8s on a graphics processor: Keras' three backends beside PyTorch code.

    python benchmarks/gpu.py

Images a second, labelled and trained on, in float32 and bfloat16, and what share that is of the
chip's own rate, measured by a matrix product in the same program. Each figure is a process of its
own: `KERAS_BACKEND` holds for a whole one, and so does a GPU's memory. The PyTorch network is
`fcn_keras.bench.peers.usual_torch`, torchvision's way: eager, channels last, `torch.autocast`.

Where there is no GPU it prints what it would run. To see that it works,

    python benchmarks/gpu.py --device cpu --size 64 --width 0.0625 --batch 1

A training step is the cross-entropy of all pixels and Adam; upsampling does not learn. FLOPs are
those of `fcn_keras.models.cost`, which for PyTorch counts the whole padding. Float32 is TF32 where
the chip has it, as TensorFlow and JAX use it unless told otherwise.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

CLASSES = 21
PROGRAMS = ("tensorflow", "jax", "torch", "pytorch")  # three backends of Keras; PyTorch itself
PRECISIONS = ("float32", "bfloat16")
JOBS = ("forward", "train")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--matrix", type=int, default=8192, help="rows of the matrix product")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each figure, in turns")
    parser.add_argument("--times", type=int, default=20, help="steps that a process times")
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", metavar="PROGRAM,PRECISION,JOB", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return measure(args, *args.one.split(","))

    cases = [
        (program, precision, job)
        for job in JOBS
        for precision in PRECISIONS
        for program in args.programs.split(",")
    ]
    if args.device == "gpu" and not has_gpu():
        print("There is no GPU that nvidia-smi knows. With one, each of these runs", end=" ")
        print(f"{args.rounds} times, in turns:")
        for case in cases:
            print("  " + " ".join(["python", *words(",".join(case))]))
        return 0
    found = {case: [] for case in cases}
    failed = {}
    for _ in range(args.rounds):
        for case in cases:
            if case not in failed:
                run(case, found, failed)
    show(args, found, failed)
    return 0


def has_gpu():
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    except OSError:
        return False


def words(case):
    return [*sys.argv, "--one", case]


def run(case, found, failed):
    from fcn_keras.bench.child import ChildFailed, run_child

    program, *_ = case
    backend = {} if program == "pytorch" else {"KERAS_BACKEND": program}
    try:
        found[case].append(json.loads(run_child(words(",".join(case)), **backend)))
    except ChildFailed as error:
        failed[case] = str(error)


def show(args, found, failed):
    import keras

    print(f"{args.device}, {args.size}x{args.size}, width {args.width:g}, batch {args.batch}")
    print(f"{'':32}{'images/s':>10}{'TFLOP/s':>10}{'product':>10}{'share':>8}{'MiB':>8}")
    rows = []
    for case, results in found.items():
        title = " ".join(case)
        if case in failed:
            print(f"{title:32}  not measured: {failed[case]}")
            rows.append({"case": case, "error": failed[case]})
            continue
        row = {key: statistics.median(result[key] for result in results) for key in results[0]}
        print(
            f"{title:32}{row['images_per_second']:10.1f}{row['flops_per_second'] / 1e12:10.2f}"
            f"{row['product'] / 1e12:10.2f}{row['flops_per_second'] / row['product']:8.0%}"
            f"{row['peak_bytes'] / 2**20:8.0f}"
        )
        rows.append({"case": case} | row)
    if args.json:
        with open(args.json, "w") as file:
            asked = {key: value for key, value in vars(args).items() if key != "one"}
            json.dump({"asked": asked, "keras": keras.__version__, "rows": rows}, file, indent=1)


def measure(args, program, precision, job):
    """Measures one figure in this process."""
    from fcn_keras.models.cost import cost

    size = (args.size, args.size)
    options = {"width": args.width, "elide_padding": program != "pytorch"}
    counted = cost("fcn8s", size, CLASSES, **options)
    flops = counted.forward_flops + (counted.backward_flops if job == "train" else 0)
    make = pytorch if program == "pytorch" else in_keras
    step, product, peak = make(args, precision, job)
    seconds = clock(step, args.times)
    rate = args.batch / seconds
    found = {
        "seconds": seconds,
        "images_per_second": rate,
        "flops_per_second": rate * flops,
        "product": 2 * args.matrix**3 / clock(product, args.times),
        "peak_bytes": peak(),
    }
    print(json.dumps(found))
    return 0


def clock(function, times):
    """Seconds that a call takes, the median; each call waits for what it has made."""
    for _ in range(3):
        function()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def in_keras(args, precision, job):
    """A step, a matrix product, and the peak of memory, on whichever backend Keras has."""
    import keras
    import numpy as np

    from fcn_keras.models.fcn import build

    if args.device == "gpu":
        require_gpu(keras)
    shape = (args.batch, args.size, args.size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, 3), "uint8")
    labels = rng.integers(0, CLASSES, (*shape, 1), "int32")
    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    # Sizes are known: JAX compiles no others.
    shape = (args.size, args.size, 3)
    model = build("fcn8s", CLASSES, weights=None, width=args.width, input_shape=shape)
    on_gpu = args.device == "gpu"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # XLA is the way of JAX, and of TensorFlow on a GPU.
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile="auto" if on_gpu else False)
    labelling = keras.Model(model.input, keras.ops.argmax(model.output, axis=-1))
    labelling.compile(jit_compile="auto" if on_gpu else False)
    images, labels = (keras.ops.convert_to_tensor(part) for part in (images, labels))
    matrix = keras.ops.cast(keras.random.normal((args.matrix, args.matrix), seed=0), precision)

    if job == "train":

        def step():
            model.train_on_batch(images, labels)
    else:

        def step():
            labelling.predict_on_batch(images)

    def product():
        # A number on the host: whoever has it has waited.
        return float(keras.ops.cast(keras.ops.matmul(matrix, matrix)[0, 0], "float32"))

    return step, product, lambda: peak_bytes(keras.backend.backend(), on_gpu)


def require_gpu(keras):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        there = tf.config.list_physical_devices("GPU")
    elif backend == "jax":
        import jax

        there = jax.default_backend() == "gpu"
    else:
        import torch

        there = torch.cuda.is_available()
        torch.set_float32_matmul_precision("high")
    if not there:
        raise SystemExit(f"{backend} sees no GPU here")


def peak_bytes(backend, on_gpu):
    if on_gpu and backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    if on_gpu and backend == "jax":
        import jax

        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    if on_gpu:
        import torch

        return torch.cuda.max_memory_allocated()
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def pytorch(args, precision, job):
    """The same in PyTorch."""
    import torch

    from fcn_keras.bench.peers.usual_torch import FCN

    on_gpu = args.device == "gpu"
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU here")
    device = "cuda" if on_gpu else "cpu"
    torch.backends.cudnn.benchmark = True  # sizes do not change
    torch.set_float32_matmul_precision("high")
    model = FCN("fcn8s", CLASSES, args.width, std=64.0).to(device)
    model = model.to(memory_format=torch.channels_last)
    dtype = getattr(torch, precision)
    autocast = torch.autocast(device, dtype, enabled=precision == "bfloat16")
    shape = (args.batch, args.size, args.size)
    images = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, CLASSES, shape, device=device)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learned, 1e-4, fused=True)
    matrix = torch.randn((args.matrix, args.matrix), device=device).to(dtype)

    if job == "train":

        def step():
            with autocast:
                scores = model(images)
            loss = torch.nn.functional.cross_entropy(scores.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()
    else:
        model.eval()

        def step():
            with torch.inference_mode(), autocast:
                return model(images).argmax(1).cpu()

    def product():
        return (matrix @ matrix)[0, 0].item()

    return step, product, lambda: peak_bytes("torch", on_gpu)


if __name__ == "__main__":
    sys.exit(main())
