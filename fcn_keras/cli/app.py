"""The command line: arguments in, a job done. Nothing heavy is imported before a job starts."""

import argparse
import atexit
import gc
import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, redirect_stdout
from dataclasses import fields, replace
from pathlib import Path

from fcn_keras.cli.arguments import (
    Parser,
    crop_size,
    figure_file,
    image_size,
    numbers_of,
    port_number,
    positive,
)
from fcn_keras.data.catalog import DATASETS
from fcn_keras.data.folders.voc_devkit import VOC_CLASSES
from fcn_keras.errors import MachineLost, ServerError, UserError, WriteError
from fcn_keras.exporters.formats import FORMATS
from fcn_keras.inference.job import file_digest
from fcn_keras.models.variants import COLOR_HHA, VARIANTS
from fcn_keras.recipes.common.resolving import RECIPES, resolve
from fcn_keras.system.console import import_tensorflow_silently, quiet, stderr_held
from fcn_keras.training.settings import CHOICES, CLUSTERS, Settings

SETTINGS_HELP = {
    "variant": "network (default: fcn8s)",
    "dataset": f"{', '.join(DATASETS)}, or a folder of images and masks (default: shapes)",
    "weights": "imagenet, none, or the path of a .keras, .weights.h5, VGG16 .h5, .caffemodel, "
    ".pth or .npz file",
    "init_from": "run or .keras file whose layers are copied where name and shape agree",
    "geometry": "paper: padded by 100 pixels as published; same: cheaper",
    "output_stride": "stride of the coarsest scores; below 32 the trunk is dilated (fcn32s)",
    "width": "factor on the channels; 1 is VGG16",
    "dropout": "rate behind fc6 and fc7",
    "learn_upsampling": "whether the transposed convolutions learn",
    "input_mean": "what to subtract from blue, green, red: B,G,R (default: as the weights say)",
    "epochs": "how often each image is seen",
    "steps": "train on that many batches, whatever --epochs says",
    "batch_size": "images in a batch, over all devices",
    "crop_size": "size of training crops: 256, 256x320 (height x width), or none: whole images",
    "replacement": "draw each image from the whole set, as the reference does",
    "flip": "whether half of the images are mirrored",
    "scale_min": "lower end of the random zoom",
    "scale_max": "upper end of the random zoom",
    "color": "strength of random changes of colour",
    "class_weights": "weight rare classes more",
    "normalization": "what the summed loss is divided by",
    "optimizer": "update rule",
    "learning_rate": "highest learning rate",
    "momentum": "of sgd and caffe_sgd",
    "weight_decay": "of adamw and caffe_sgd",
    "clip_norm": "length to cut the gradient of each variable to; 0 for none",
    "accumulate": "batches that make one step",
    "remat": "compute the first blocks' activations twice, to save memory",
    "schedule": "course of the learning rate",
    "warmup": "share of all steps over which the learning rate rises",
    "precision": "dtype policy",
    "validate_every": "epochs from one validation to the next",
    "seed": "of everything drawn",
    "deterministic": "use only operations with one possible result",
}


def main(command: str | None = None) -> int:
    """Runs the command that the process was called with.

    Args:
        command: the command, for a program that has only this one.

    Returns:
        The exit code: 0 done, 2 the caller's mistake, 1 a fault of this package, 130 stopped
        by Ctrl-C.
    """
    args = _parser(command).parse_args()
    try:
        with quiet(args.debug, args.tensorflow):
            return args.run(args) or 0
    except KeyboardInterrupt:
        message, code = args.stopped, 130
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        if isinstance(error, MachineLost):
            _start_again(error)
        if isinstance(error, UserError):
            message, code = f"error: {error}", 2
        elif isinstance(error, WriteError | ServerError):
            message, code = f"error: {error}", 1
        else:
            message = f"fault: {type(error).__name__}: {error} (--debug shows where)"
            code = 1
    print(message, file=sys.stderr, flush=True)
    # What failed may have left a stream of images behind, which reads ahead in threads. They end
    # with it now; a process that ends before them waits for them for ever.
    gc.collect()
    return code


def _start_again(error):
    """Replaces this process by one with the same command, which waits for the other machines."""
    print(f"{error} Starting again from the last backup.", file=sys.stderr, flush=True)
    sys.stdout.flush()
    time.sleep(1)
    # Under `python -m` the first argument is the module's file, which does not run on its own.
    # What has been trained since the start must not be deleted.
    started = [word for word in sys.orig_argv[1:] if not word.startswith("--fr")]
    os.execv(sys.executable, [sys.executable, *started])


def train(args):
    given = {
        field.name: getattr(args, field.name)
        for field in fields(Settings)
        if field.name != "recipe" and hasattr(args, field.name)
    }
    settings = resolve(args.recipe, **given)
    from fcn_keras.training.train import train

    train(settings, args.run_dir, args.devices, args.fresh, args.cluster, args.backup_steps)


def evaluate(args):
    if args.predictions:
        return _evaluate_predictions(args)
    if args.model is None or args.labels:
        raise UserError(
            "evaluate: needs RUN_OR_MODEL, or --predictions with --labels or --dataset."
        )
    from fcn_keras.evaluation.evaluate import evaluate
    from fcn_keras.inference.network import load_network
    from fcn_keras.system.devices import make_strategy

    strategy = make_strategy(args.devices)
    with strategy.scope():
        network = load_network(args.model)
    settings = network.config.get("settings", {})
    name = args.dataset or settings.get("dataset")
    # In batches of another size sums are rounded otherwise, and a pixel in a million changes
    # sides: the run's own size gives its own figures again.
    batch_size = args.batch_size or settings.get("batch_size", 1)
    if name is None:
        raise UserError("--dataset: needed, as the model does not lie in a run that tells it.")
    dataset, split = _dataset_and_split(name, args.split)
    if dataset.num_classes != len(network.classes):
        raise UserError(
            f"{args.model} tells {len(network.classes)} classes apart, but {name} has "
            f"{dataset.num_classes}."
        )
    if {*dataset.heads} != {*network.heads}:
        maps, there = (
            f"the label maps {', '.join(heads)}" if heads else "one label map"
            for heads in (network.heads, dataset.heads)
        )
        raise UserError(f"{args.model} scores {maps}, and {name} has {there}.")
    confusion = evaluate(
        network.full, split, batch_size, strategy=strategy, heads=tuple(dataset.heads)
    )
    classes = dataset.heads or dataset.classes
    _print_scores(args, confusion, classes, f"{args.model} on {name}, {args.split}")


def _evaluate_predictions(args):
    if args.model or bool(args.labels) == bool(args.dataset):
        raise UserError(
            "--predictions: are scored in place of a model's, against either --labels or --dataset."
        )
    from fcn_keras.evaluation.compare import compare
    from fcn_keras.inference.classes import numbered_classes

    if args.labels:
        truth = args.labels
        classes, colors = numbered_classes(args.num_classes or len(VOC_CLASSES))
        if len(classes) == len(VOC_CLASSES):
            classes = VOC_CLASSES
    else:
        dataset, truth = _dataset_and_split(args.dataset, args.split)
        classes, colors = dataset.classes, dataset.colors
    confusion = compare(args.predictions, truth, colors)
    _print_scores(args, confusion, classes, args.predictions)


def _dataset_and_split(name, split):
    from fcn_keras.data.registry import load_dataset

    dataset = load_dataset(name)
    if split not in dataset.splits:
        _no_split(split, dataset)
    return dataset, dataset.splits[split]


def _no_split(split, dataset):
    raise UserError(f"--split: must be one of {', '.join(dataset.splits)}. Received: {split!r}.")


def _print_scores(args, confusion, classes, what):
    from fcn_keras.evaluation.scores import as_json, score_table

    scores = as_json(confusion, classes)
    print(json.dumps(scores) if args.json else f"{what}:\n{score_table(scores)}")


def predict(args):
    for name in ("ray", "tile", "scales", "flip"):
        if args.server and getattr(args, name):
            raise UserError(f"--{name}: is not for a --server, which sees an image whole, once.")
    if args.classes and not args.server:
        raise UserError("--classes: is for a --server; RUN_OR_MODEL tells its own.")
    if args.workers and not args.ray:
        raise UserError("--workers: is for --ray.")
    if not args.images and not args.server:
        raise UserError("IMAGE_OR_DIR: needed, behind RUN_OR_MODEL (or give --server).")
    from fcn_keras.inference.job import find_images
    from fcn_keras.inference.predict import predict

    # What is wrong with an address or the images is told before the wait for TensorFlow.
    server = _server(args) if args.server else None
    images = find_images([args.model, *args.images] if server else args.images)
    options = dict(batch_size=args.batch_size, fresh=args.fresh)
    if server:
        network, classes, colors = server
        job = {"server": args.server, "version": network.version}
    elif exported := _saved_model(args.model):
        network, job = _exported(exported, args)
        classes, colors = network.classes, network.colors
    else:
        from fcn_keras.inference.run_folder import network_file

        views = dict(tile=args.tile, scales=args.scales or (1.0,), flip=args.flip)
        with ThreadPoolExecutor(1) as aside:
            digest = aside.submit(file_digest, network_file(args.model))
            network, classes, colors = _opened(args, views)
        options |= views
        job = {"network": digest.result(), "scales": views["scales"], "flip": views["flip"]}
    options["job"] = job | {"classes": classes, "colors": colors}
    if args.ray:
        from fcn_keras.inference.on_ray import predict_on_ray

        options |= dict(address=args.ray, workers=args.workers)
        written = predict_on_ray(args.model, images, args.output, **options)
    else:
        written = predict(network, images, args.output, classes, colors, **options)
    print(f"{len(written)} label maps with pictures in {args.output}")


def _opened(args, views):
    """A run's network or that of a `.keras` file, with its classes and their colours."""
    # What is seen whole, once, can be labelled by a graph that was kept.
    whole = not args.ray and views == {"tile": None, "scales": (1.0,), "flip": False}
    if whole:
        from fcn_keras.inference.c_library.graph_reader import open_traced

        with nullcontext() if args.debug else stderr_held():
            network = open_traced(args.model)
        if network:
            return network, network.classes, network.colors
    if not args.debug:
        import_tensorflow_silently()
    # Python ends by a search for garbage in all that TensorFlow and Keras made, for seconds.
    atexit.register(gc.freeze)
    from fcn_keras.inference.c_library.graph_writer import keep_graph
    from fcn_keras.inference.network import load_network
    from fcn_keras.inference.run_folder import network_file

    network = load_network(args.model)
    if whole:
        keep_graph(network.full, network_file(args.model))
    return network.model, network.classes, network.colors


def _saved_model(source):
    """Returns the SavedModel's folder if that is what there is, and None for a run or a file."""
    from fcn_keras.inference.classes import find_saved_model

    return None if (Path(source) / "best.keras").is_file() else find_saved_model(source)


def _exported(folder, args):
    from fcn_keras.inference.c_library.saved_model import Exported

    for name in ("ray", "tile", "scales", "flip"):
        if getattr(args, name):
            raise UserError(
                f"--{name}: is for a run or a .keras file. {folder} is exported, and sees an image "
                "whole, once."
            )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(1) as aside, nullcontext() if args.debug else stderr_held():
        digests = aside.map(file_digest, files)
        network = Exported(folder)
    names = [str(path.relative_to(folder)) for path in files]
    return network, {"exported": dict(zip(names, digests, strict=True))}


def _server(args):
    from fcn_keras.client.client import Client
    from fcn_keras.inference.classes import numbered_classes, read_classes

    client = Client(args.server)
    classes, colors = numbered_classes(client.num_classes)
    if args.classes:
        classes, colors = read_classes(args.classes)
    if len(classes) != client.num_classes:
        raise UserError(
            f"--classes: {args.classes} names {len(classes)} classes, and the network at "
            f"{args.server} tells {client.num_classes} apart."
        )
    return client, classes, colors


def export(args):
    endings = (name for name, end in FORMATS.items() if end and args.output.lower().endswith(end))
    format = args.format or next(endings, "savedmodel")
    if format != "savedmodel":
        return _export_to_runtime(args, format)
    from fcn_keras.exporters.decoding import MAX_PIXELS
    from fcn_keras.exporters.saved_model import export
    from fcn_keras.exporters.version_folder import check_target
    from fcn_keras.inference.network import load_network

    check_target(args.output, args.version)
    network = load_network(args.model)
    target = export(
        network.model,
        args.output,
        network.classes,
        network.colors,
        args.version,
        strict=args.strict,
        max_pixels=args.max_pixels or MAX_PIXELS,
        license=args.license,
        precision=args.precision,
        freeze=args.freeze,
        processor=args.processor or "cpu",
    )
    print(f"SavedModel in {target}")


def serve(args):
    try:
        from fcn_keras.serving.server import serve
    except ImportError as error:
        raise UserError(
            f'serve: needs KServe: pip install "fcn_keras[serve]". ({error})'
        ) from error
    serve(args.model, args.name, args.host, args.http_port, args.debug)


def _export_to_runtime(args, format):
    options = ["version", "strict", "max_pixels", "precision", "freeze", "processor"]
    if format == "weights":
        options.append("license")
    for name in options:
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')}: cannot be given with --format {format}.")
    from fcn_keras.exporters.runtimes import check_output, export_to_runtime
    from fcn_keras.inference.network import load_network

    check_output(args.output, format)
    network = load_network(args.model)
    model = network.full if format == "weights" else network.model
    with nullcontext() if args.debug else stderr_held():
        agreement = export_to_runtime(
            model, args.output, format, network.classes, network.colors, args.license
        )
    print(
        f"{args.output}: logits differ from Keras' by {agreement.difference:.1e} of the largest at "
        f"most, {agreement.labels:.3%} of the labels are the same"
    )


def demo(args):
    from fcn_keras.demo.page import demo

    demo(args.source, args.host, args.port, args.classes)


def convert(args):
    from fcn_keras.exporters.convert import convert, list_weights

    if args.list:
        shapes = list_weights(args.model)
        if args.json:
            print(json.dumps(shapes))
        else:
            for name, layer in shapes.items():
                print(f"{name:16}", "  ".join("x".join(map(str, shape)) for shape in layer))
    elif args.output is None:
        raise UserError("OUT: the file to write is missing (or use --list).")
    else:
        options = {
            name: getattr(args, name) for name in ("variant", "num_classes", "width", "input_mean")
        }
        print(convert(args.model, args.output, **options))


def bench_input(args):
    from fcn_keras.bench.input import bench_input
    from fcn_keras.data.registry import load_dataset

    settings = resolve(args.recipe, dataset=args.dataset)
    rates = bench_input(load_dataset(args.dataset), settings, args.seconds)
    if args.json:
        print(json.dumps(rates))
    else:
        for name, rate in rates.items():
            print(f"{name:16} {rate:9.1f} images/s")


def bench_train(args):
    from fcn_keras.bench.machine import about
    from fcn_keras.bench.steps import (
        as_json,
        bench_training,
        peers_to_compare,
        steps_to_compare,
        table,
    )

    first = _step(args)
    changes = {
        name: getattr(args, name)
        for name in ("precision", "accumulate", "remat", "elide_padding")
        if hasattr(args, name)
    }
    if args.peers and changes:
        raise UserError("--peers: cannot be given together with settings.")
    several = peers_to_compare if args.peers else steps_to_compare
    steps = [first, replace(first, **changes)] if changes else several(first)
    rows = as_json(bench_training(steps, args.rounds, args.steps))
    if args.json:
        print(json.dumps(about() | {"rows": rows}))
    else:
        print(_bench_head(args), table(rows), sep="\n")


def bench_forward(args):
    from fcn_keras.bench.forward import as_json, bench_forward, draw, table
    from fcn_keras.bench.machine import about

    forward = _forward(args)
    rows = bench_forward(forward, _peers(args), args.rounds, args.folder)
    found = as_json(forward, rows)
    if args.figure:
        draw(found, args.figure)
    if args.json:
        print(json.dumps(about() | found))
    else:
        print(_bench_head(args), table(found), sep="\n")


def bench_start(args):
    from fcn_keras.bench.machine import about
    from fcn_keras.bench.start import as_table, bench_start

    found = bench_start(_step(args), args.rounds)
    if args.json:
        print(json.dumps(about() | found))
    else:
        print(_bench_head(args), as_table(found), sep="\n")


def bench_report(args):
    from fcn_keras.bench.report import bench_report

    found = bench_report(args.output, _forward(args), _peers(args), args.rounds, args.folder)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"{args.output}, with figures in JSON and a picture beside it")


def _forward(args):
    from fcn_keras.bench.forward import Forward

    return Forward(args.variant, args.width, args.size, args.geometry, args.num_classes)


def _peers(args):
    from fcn_keras.bench.forward import default_peers

    names = args.peers.split(",") if args.peers else default_peers()
    return names + ["ours_frozen"] * args.freeze


def bench_metrics(args):
    from fcn_keras.bench.machine import about
    from fcn_keras.bench.metrics import bench_metrics

    found = bench_metrics(_step(args), args.rounds)
    if args.json:
        print(json.dumps(about() | found))
        return
    print(_bench_head(args))
    for name, figure in found.items():
        if name == "share":
            print(f"{name:16} {100 * figure:9.3f} % of the step (update and result)")
        else:
            print(f"{name:16} {figure:9.3f} ms")


def bench_cost(args):
    from fcn_keras.models.cost import cost, table

    options = dict(
        geometry=args.geometry,
        output_stride=args.output_stride,
        width=args.width,
        learn_upsampling=args.learn_upsampling,
        elide_padding=args.elide_padding,
    )
    found = cost(args.variant, args.size, args.num_classes, **options)
    if args.json:
        asked = dict(variant=args.variant, size=args.size, num_classes=args.num_classes)
        print(json.dumps(asked | options | found.as_json()))
    else:
        print(table(found))


def _step(args):
    from fcn_keras.bench.steps import Step

    return Step(args.variant, args.width, args.size, args.num_classes, args.batch_size)


def _bench_head(args):
    from fcn_keras.bench.machine import about

    found = about()
    machine, versions = found["machine"], found["versions"]
    size = "x".join(map(str, args.size))
    return (
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores; "
        f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}\n"
        f"{args.variant}, width {args.width:g}, {size}, {args.num_classes} classes"
    )


def data_list(args):
    from fcn_keras.data.catalog import list_datasets

    rows = list_datasets(args.data_dir)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, classes, origin, state in rows:
        print(f"{name:{widths[0]}}  {classes:>{widths[1]}} classes  {origin:{widths[2]}}  {state}")


def data_show(args):
    from fcn_keras.figures.dataset import draw_sheet

    dataset, split = _open_dataset(args), args.split
    if split not in dataset.splits:
        _no_split(split, dataset)
    draw_sheet(dataset, split, args.count, args.output)
    print(f"{dataset.name}, {split}, in {args.output}")


def data_check(args):
    from fcn_keras.data.inspection import inspect
    from fcn_keras.figures.dataset import draw_frequencies

    # A folder is not opened as a data set, which it might be too broken for.
    inspection = inspect(_open_dataset(args) if _is_registered(args) else args.dataset)
    if args.figure:
        draw_frequencies(inspection, args.figure)
    print(json.dumps(inspection.as_json()) if args.json else inspection)
    return 2 if inspection.faults else 0


def data_prepare(args):
    if args.dataset not in DATASETS:
        raise UserError(
            f"NAME: must be one of {', '.join(DATASETS)}; a folder needs no preparation. "
            f"Received: {args.dataset!r}."
        )
    dataset = _open_dataset(args)
    splits = ", ".join(f"{len(split)} to {name}" for name, split in dataset.splits.items())
    print(f"{dataset.name} is prepared: {splits}")


def _is_registered(args):
    if args.dataset in DATASETS or args.dataset.startswith("tfds:"):
        return True
    if not Path(args.dataset).is_dir():
        raise UserError(
            f"NAME_OR_DIR: must be one of {', '.join(DATASETS)}, or the path of a folder. "
            f"Received: {args.dataset!r}, which is neither."
        )
    return False


def _open_dataset(args):
    from fcn_keras.data.registry import load_dataset

    # A folder needs no TensorFlow.
    if _is_registered(args) and not args.debug:
        import_tensorflow_silently()
    with redirect_stdout(sys.stderr):  # standard output is for results
        return load_dataset(args.dataset, args.data_dir, args.manual_dir)


def _parser(only):
    parser = Parser(description="Fully Convolutional Networks for semantic segmentation.")
    if sys.argv[0].endswith("__main__.py"):
        parser.prog = "python -m fcn_keras"
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(run, text, stopped="stopped", of=commands, tensorflow=True):
        sub = of.add_parser(run.__name__.rpartition("_")[2], help=text, description=text)
        sub.set_defaults(run=run, stopped=stopped, tensorflow=tensorflow)
        sub.add_argument("--debug", action="store_true", help="show tracebacks and all messages")
        return sub

    sub = command(
        train,
        "Train a network; the same command goes on where it was stopped.",
        "stopped; the same command goes on from the last backup",
    )
    _add_settings(sub)
    sub.add_argument(
        "--run-dir", metavar="DIR", help="where to write (default: runs/DATASET-VARIANT)"
    )
    sub.add_argument(
        "--devices", metavar="LIST", help="gpu:0,gpu:1 or cpu:2 (default: all GPUs, else one CPU)"
    )
    sub.add_argument("--fresh", action="store_true", help="delete an existing run first")
    sub.add_argument(
        "--cluster",
        choices=CLUSTERS,
        help="train on several machines, found by TF_CONFIG or Slurm (default: by TF_CONFIG if it "
        "is set)",
    )
    sub.add_argument(
        "--backup-steps",
        type=positive,
        metavar="N",
        help="steps from one backup to the next within an epoch (default: ten minutes; on several "
        "machines at the end of epochs alone)",
    )

    model = dict(metavar="RUN_OR_MODEL", help="run directory or .keras file")
    sub = command(evaluate, "Score a network, or label maps on disk, on a data set.")
    sub.add_argument("model", nargs="?", **model)
    sub.add_argument(
        "--predictions",
        metavar="DIR",
        help="score these label maps instead: palette or grey PNGs, or pictures in class colours",
    )
    sub.add_argument(
        "--labels", metavar="DIR", help="true label maps of the same names (or give --dataset)"
    )
    sub.add_argument(
        "--num-classes", type=positive, metavar="N", help="with --labels (default: VOC's 21)"
    )
    sub.add_argument("--dataset", metavar="NAME_OR_DIR", help="default: the run's own")
    sub.add_argument("--split", default="val", help="default: val")
    sub.add_argument(
        "--batch-size", type=positive, metavar="N", help="default: the run's own, else 1"
    )
    sub.add_argument("--devices", metavar="LIST", help="as for train")
    sub.add_argument("--json", action="store_true", help="print one JSON object")

    sub = command(
        predict,
        "Write label maps and pictures for images; the same command goes on where it was stopped.",
        "stopped; the same command goes on from here",
        tensorflow=False,
    )
    sub.add_argument(
        "model", **(model | {"help": "run directory, .keras file or exported folder (no --server)"})
    )
    sub.add_argument("images", metavar="IMAGE_OR_DIR", nargs="*", help="image files or folders")
    sub.add_argument("--output", metavar="DIR", required=True, help="folder to write to")
    sub.add_argument(
        "--fresh", action="store_true", help="label images again that have been labelled already"
    )
    sub.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="images of one size in a batch (default: up to 8, by their size)",
    )
    sub.add_argument(
        "--tile",
        type=positive,
        metavar="N",
        help="look at N x N pixels of an image at a time, and as much around them as decides on "
        "them: the same labels, in less memory",
    )
    sub.add_argument(
        "--scales",
        type=numbers_of,
        metavar="X,Y,..",
        help="average over the image at these sizes, such as 0.75,1,1.25",
    )
    sub.add_argument("--flip", action="store_true", help="average over the mirrored image too")
    sub.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="share the images out over a Ray cluster: auto on one of its machines, "
        "ray://HOST:10001 from outside; local starts one here",
    )
    sub.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="with --ray: networks at work (default: one for each GPU, else for each machine)",
    )
    sub.add_argument(
        "--server",
        metavar="URL",
        help="ask a server instead of a model: http://HOST:8501/v1/models/NAME, or "
        "grpc://HOST:8500/NAME",
    )
    sub.add_argument(
        "--classes",
        metavar="FILE",
        help="with --server: names and colours, from a run, an export or a JSON file",
    )

    sub = command(export, "Write a SavedModel for TensorFlow Serving, or a file for a runtime.")
    sub.add_argument("model", **model)
    sub.add_argument(
        "output",
        metavar="OUT",
        help="folder that the server watches; or a file: .onnx, .xml (OpenVINO), .tflite (LiteRT) "
        "or .weights.h5 (Keras), which is run and compared with Keras before it appears",
    )
    sub.add_argument("--format", choices=FORMATS, help="default: by the ending of OUT")
    sub.add_argument("--license", metavar="TEXT", help="note to store with the network")
    sub = sub.add_argument_group("options of a SavedModel")
    sub.add_argument(
        "--version",
        type=positive,
        metavar="N",
        help="number of the folder to make in OUT (default: one above the highest)",
    )
    sub.add_argument(
        "--strict",
        action="store_true",
        help="a file that cannot be decoded fails the whole request (default: its mask is empty)",
    )
    sub.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="do not decode files of more pixels (default: 25 million)",
    )
    sub.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of weights and computation; bfloat16 halves the files (default: as trained)",
    )
    sub.add_argument(
        "--freeze",
        action="store_true",
        help="write the weights as constants; takes memory, about 33 times the weights' size to "
        "export and 15 times to serve",
    )
    sub.add_argument(
        "--processor",
        choices=("cpu", "gpu"),
        help="what the server computes on; cpu (the default) has convolutions as products of "
        "matrices, which are slower than convolutions on a gpu",
    )

    sub = command(demo, "Show what a network makes of images, on a page in the browser.")
    sub.add_argument(
        "source",
        metavar="RUN|MODEL|SAVEDMODEL|URL",
        help="run directory, .keras file, exported SavedModel, or a server's URL",
    )
    sub.add_argument("--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1)")
    sub.add_argument(
        "--port", type=positive, default=7860, metavar="N", help="port to serve on (default: 7860)"
    )
    sub.add_argument(
        "--classes",
        metavar="FILE",
        help="names and colours, from a run, an export or a JSON file (default: the network's own; "
        "a server tells none)",
    )

    sub = command(serve, "Serve a network by TensorFlow Serving's REST protocol, without Docker.")
    sub.add_argument(
        "model",
        metavar="RUN_OR_SAVEDMODEL",
        help="run directory, .keras file, or what export wrote",
    )
    sub.add_argument("--name", help="what addresses call it (default: as the folder)")
    sub.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 for all of this machine's (default: 127.0.0.1)",
    )
    sub.add_argument(
        "--http-port",
        type=port_number,
        default=8501,
        metavar="N",
        help="0 for a free one; default: 8501",
    )

    sub = command(convert, "Turn weights into a .keras or .weights.h5 file, or list them.")
    sub.add_argument(
        "model",
        metavar="IN",
        help="run directory or .keras file; or published weights: .caffemodel, .pth, .npz",
    )
    sub.add_argument("output", metavar="OUT", nargs="?", help="file to write")
    sub.add_argument("--list", action="store_true", help="list layers and shapes instead")
    sub.add_argument("--json", action="store_true", help="list them as one JSON object")
    sub.add_argument("--variant", choices=VARIANTS, help="what published weights are for")
    sub.add_argument(
        "--num-classes", type=positive, metavar="N", help="of published weights (default: theirs)"
    )
    sub.add_argument(
        "--width", type=float, metavar="X", help="of published weights (default: theirs)"
    )
    sub.add_argument(
        "--input-mean", type=numbers_of, metavar="B,G,R", help=SETTINGS_HELP["input_mean"]
    )

    _add_data_commands(commands, command)

    _add_bench_commands(commands, command)
    if only is None:
        return parser
    sub = commands.choices[only]
    sub.prog = parser.prog
    return sub


def _add_data_commands(commands, command):
    text = "List, show, check or prepare data sets."
    parser = commands.add_parser("data", help=text, description=text)
    jobs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def job(run, text, **dataset):
        sub = command(run, text, of=jobs, tensorflow=False)
        if dataset:
            sub.add_argument("dataset", **dataset)
            sub.add_argument(
                "--manual-dir", metavar="DIR", help="where files lie that were fetched by hand"
            )
        sub.add_argument(
            "--data-dir",
            metavar="DIR",
            help="where prepared sets are kept (default: ~/tensorflow_datasets)",
        )
        return sub

    either = dict(metavar="NAME_OR_DIR", help="registered name, or a folder of images and masks")
    job(data_list, "List the registered data sets.")

    sub = job(data_show, "Draw photos, their masks and a legend.", **either)
    sub.add_argument("--split", default="train", help="default: train")
    sub.add_argument(
        "--count", type=positive, default=12, metavar="N", help="how many images (default: 12)"
    )
    sub.add_argument(
        "--output", type=figure_file, metavar="FILE", required=True, help=".png, .pdf or .svg"
    )

    sub = job(data_check, "Read all images and masks, and list all that is wrong.", **either)
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    sub.add_argument(
        "--figure",
        type=figure_file,
        metavar="FILE",
        help="draw the class frequencies",
    )

    names = dict(metavar="NAME", help=f"one of {', '.join(DATASETS)}")
    job(data_prepare, "Fetch a data set, and bring it into the form that is read.", **names)


def _add_bench_commands(commands, command):
    text = "Measure how fast parts of a training are here."
    parser = commands.add_parser("bench", help=text, description=text)
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    sub = command(bench_input, "Images a second: decoding, augmenting, batching.", of=parts)
    sub.add_argument("--dataset", default="shapes", metavar="NAME_OR_DIR", help="default: shapes")
    sub.add_argument("--recipe", default="small", metavar="NAME", help="default: small")
    sub.add_argument(
        "--seconds", type=float, default=5, metavar="X", help="for each figure (default: 5)"
    )
    sub.add_argument("--json", action="store_true", help="print one JSON object")

    def add_step(sub, size, rounds, what):
        sub.add_argument("--variant", choices=VARIANTS, default="fcn8s", help="default: fcn8s")
        sub.add_argument("--width", type=float, default=1.0, metavar="X", help="default: 1")
        sub.add_argument(
            "--size",
            type=image_size,
            default=size,
            help=f"of the images, height x width (default: {'x'.join(map(str, size))})",
        )
        sub.add_argument(
            "--num-classes", type=positive, default=21, metavar="N", help="default: 21"
        )
        sub.add_argument("--batch-size", type=positive, default=1, metavar="N", help="default: 1")
        sub.add_argument(
            "--rounds",
            type=positive,
            default=rounds,
            metavar="N",
            help=f"{what} (default: {rounds})",
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")

    sub = command(
        bench_train,
        "Seconds and memory of a training step: of float32 beside other settings.",
        of=parts,
    )
    add_step(sub, (320, 320), 2, "processes for each setting, in turns")
    sub.add_argument(
        "--steps",
        type=positive,
        default=2,
        metavar="N",
        help="in each process, beside the first (default: 2)",
    )
    sub.add_argument(
        "--peers",
        action="store_true",
        help="compare with PyTorch and with Keras without this package instead",
    )
    group = sub.add_argument_group(
        "settings",
        "Without any of these, all are measured one after the other. With some, float32 is "
        "compared with these together.",
    )
    changed = dict(default=argparse.SUPPRESS)
    group.add_argument("--precision", choices=CHOICES["precision"], help="dtype policy", **changed)
    group.add_argument(
        "--accumulate",
        type=positive,
        metavar="N",
        help="batches that make one step",
        **changed,
    )
    group.add_argument("--remat", action="store_true", help=SETTINGS_HELP["remat"], **changed)
    group.add_argument(
        "--no-elide",
        dest="elide_padding",
        action="store_false",
        help="compute all of the paper's padding",
        **changed,
    )

    def add_peers(sub):
        sub.add_argument(
            "--geometry", choices=("paper", "same"), default="paper", help="default: paper"
        )
        sub.add_argument(
            "--peers",
            metavar="NAME,NAME,..",
            help="what to measure beside our export: ours_plain, ours_bfloat16, keras, "
            "usual_keras, torch, torch_channels_last, torch_compile, torch_bfloat16, "
            "onnxruntime, openvino, openvino_bfloat16, opencv (default: all)",
        )
        sub.add_argument(
            "--freeze",
            action="store_true",
            help="measure our export with its weights as constants too, which takes some 33 times "
            "their size in memory to write",
        )
        sub.add_argument(
            "--folder",
            metavar="DIR",
            help="where to keep the files of all programs for the next time: 4 GB at full width",
        )

    sub = command(
        bench_forward,
        "Seconds and memory of labelling an image: our export beside other programs.",
        of=parts,
    )
    add_step(sub, (500, 500), 7, "how often each program runs, in turns")
    add_peers(sub)
    sub.add_argument("--figure", type=figure_file, metavar="FILE", help="draw the seconds")

    sub = command(
        bench_start, "Seconds that commands take to start, and predict in parts.", of=parts
    )
    add_step(sub, (500, 500), 3, "how often each command runs, in turns")

    sub = command(
        bench_report,
        "Compare inference, training and starting with others, and write it all down.",
        of=parts,
    )
    sub.add_argument(
        "output", metavar="FILE.md", help="document to write; .json and .png appear beside it"
    )
    add_step(sub, (500, 500), 7, "of inference; a third of them for training and starting")
    add_peers(sub)

    sub = command(bench_metrics, "What the scores cost beside a training step.", of=parts)
    add_step(sub, (500, 500), 5, "how often each is measured, in turns")

    sub = command(
        bench_cost,
        "FLOPs, bytes and parameters of each layer, by arithmetic: nothing is run.",
        of=parts,
        tensorflow=False,
    )
    counted = [variant for variant in VARIANTS if variant != COLOR_HHA]
    sub.add_argument("--variant", choices=counted, default="fcn8s", help="default: fcn8s")
    sub.add_argument(
        "--size", type=image_size, default=(500, 500), help="height x width (default: 500x500)"
    )
    sub.add_argument("--num-classes", type=positive, default=21, metavar="N", help="default: 21")
    sub.add_argument("--width", type=float, default=1.0, metavar="X", help="default: 1")
    sub.add_argument(
        "--geometry",
        choices=CHOICES["geometry"],
        default="paper",
        help=SETTINGS_HELP["geometry"],
    )
    sub.add_argument(
        "--output-stride",
        type=int,
        choices=CHOICES["output_stride"],
        default=32,
        help="default: 32",
    )
    sub.add_argument(
        "--learn-upsampling", action="store_true", help="the transposed convolutions learn"
    )
    sub.add_argument(
        "--no-elide",
        dest="elide_padding",
        action="store_false",
        help="compute all of the paper's padding",
    )
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def _add_settings(parser):
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"settings to start from: {', '.join(RECIPES)} (default: the data set's own)",
    )
    types = {
        int: int,
        float: float,
        tuple[int, int] | None: crop_size,
        tuple[float, ...] | None: numbers_of,
    }
    for field in fields(Settings):
        if field.name == "recipe":
            continue
        options = {"default": argparse.SUPPRESS, "help": SETTINGS_HELP[field.name]}
        if field.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif field.name in CHOICES:
            options["choices"] = CHOICES[field.name]
            options["type"] = field.type
        else:
            options["type"] = types.get(field.type, str)
            options["metavar"] = {int: "N", float: "X"}.get(field.type, field.name.upper())
        parser.add_argument(f"--{field.name.replace('_', '-')}", **options)
