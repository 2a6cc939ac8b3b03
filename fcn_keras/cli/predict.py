"""`predict`."""

import atexit
import gc
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fcn_keras.cli.arguments import MODEL, numbers_of, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.errors import UserError
from fcn_keras.system.console import import_tensorflow_silently, stderr_held

ARGUMENTS: Arguments = {
    "model": MODEL["model"]
    | dict(help="run directory, .keras file or exported folder (no --server)"),
    "images": dict(metavar="IMAGE_OR_DIR", nargs="*", help="image files or folders"),
    "--output": dict(metavar="DIR", required=True, help="folder to write to"),
    "--fresh": dict(action="store_true", help="label images again that have been labelled already"),
    "--batch-size": dict(
        type=positive,
        metavar="N",
        help="images of one size in a batch (default: up to 8, by their size)",
    ),
    "--tile": dict(
        type=positive,
        metavar="N",
        help="look at N x N pixels of an image at a time, and as much around them as decides on "
        "them: the same labels, in less memory",
    ),
    "--scales": dict(
        type=numbers_of,
        metavar="X,Y,..",
        help="average over the image at these sizes, such as 0.75,1,1.25",
    ),
    "--flip": dict(action="store_true", help="average over the mirrored image too"),
    "--ray": dict(
        metavar="ADDRESS",
        help="share the images out over a Ray cluster: auto on one of its machines, "
        "ray://HOST:10001 from outside; local starts one here",
    ),
    "--workers": dict(
        type=positive,
        metavar="N",
        help="with --ray: networks at work (default: one for each GPU, else for each machine)",
    ),
    "--server": dict(
        metavar="URL",
        help="ask a server instead of a model: http://HOST:8501/v1/models/NAME, or "
        "grpc://HOST:8500/NAME",
    ),
    "--classes": dict(
        metavar="FILE",
        help="with --server: names and colours, from a run, an export or a JSON file",
    ),
}


def run(args: Namespace) -> None:
    for name in ("ray", "tile", "scales", "flip"):
        if args.server and getattr(args, name):
            raise UserError(f"--{name}: is not for a --server, which sees an image whole, once.")
    if args.classes and not args.server:
        raise UserError("--classes: is for a --server; RUN_OR_MODEL tells its own.")
    if args.workers and not args.ray:
        raise UserError("--workers: is for --ray.")
    if not args.images and not args.server:
        raise UserError("IMAGE_OR_DIR: needed, behind RUN_OR_MODEL (or give --server).")
    from fcn_keras.inference.job import file_digest, find_images
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

        with stderr_held():
            network = open_traced(args.model)
        if network:
            return network, network.classes, network.colors
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
    from fcn_keras.inference.job import file_digest

    for name in ("ray", "tile", "scales", "flip"):
        if getattr(args, name):
            raise UserError(
                f"--{name}: is for a run or a .keras file. {folder} is exported, and sees an image "
                "whole, once."
            )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(1) as aside, stderr_held():
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


COMMAND = Command(
    "Write label maps and pictures for images; the same command goes on where it was stopped.",
    run,
    ARGUMENTS,
    stopped="stopped; the same command goes on from here",
    tensorflow=False,
)
