"""The command `predict`."""

import atexit
import gc
from argparse import Namespace
from pathlib import Path

from fcn_keras.cli.arguments import MODEL, names_of, numbers_of, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.errors import UserError
from fcn_keras.inference.outputs import DEFAULT, ENDINGS, Outputs

ARGUMENTS: Arguments = {
    "model": MODEL["model"]
    | dict(help="run directory, .keras file, hf://USER/NAME or exported folder (no --server)"),
    "images": dict(
        metavar="IMAGE_OR_DIR",
        nargs="*",
        help="image files, folders of them, or films, of which a film is made",
    ),
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
    "--output-formats": dict(
        type=names_of,
        metavar="X,Y,..",
        help=f"what to write beside the label map: {', '.join(ENDINGS)} (default: "
        f"{','.join(DEFAULT.formats)}; of films: overlay alone)",
    ),
    "--min-confidence": dict(
        type=float,
        default=0.0,
        metavar="P",
        help="make pixels void whose class is less probable than that, from 0 to 1",
    ),
    "--simplify": dict(
        type=float,
        default=0.0,
        metavar="PX",
        help="with polygons: by how many pixels outlines may be off, to have fewer corners",
    ),
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
    from fcn_keras.inference.opening import is_address, open_network

    server = args.server
    whole = "is not for a --server, which sees an image whole, once."
    views = [name for name in ("ray", "tile", "scales", "flip") if getattr(args, name)]
    faults = (
        *((server, f"--{name}: {whole}") for name in views),
        (args.classes and not server, "--classes: is for a --server; RUN_OR_MODEL tells its own."),
        (args.workers and not args.ray, "--workers: is for --ray."),
        (
            not (args.images or server),
            "IMAGE_OR_DIR: needed, behind RUN_OR_MODEL (or give --server).",
        ),
        (
            is_address(args.model) and not server,
            f"{args.model}: is no path. Give a server's address as --server.",
        ),
    )
    for wrong, message in faults:
        if wrong:
            raise UserError(message)
    from fcn_keras.inference.classes import find_saved_model
    from fcn_keras.inference.films import SUFFIXES, check_films
    from fcn_keras.inference.job import find_images

    # What is wrong with an address or the images is told before the wait for TensorFlow.
    what, inputs = args.model, args.images
    if server:
        from fcn_keras.client.client import Client

        what, inputs = Client(server), [args.model, *args.images]
    films = [path for path in map(Path, inputs) if path.suffix.lower() in SUFFIXES]
    films = [*dict.fromkeys(path for path in films if not path.is_dir())]
    photos = [path for path in map(Path, inputs) if path not in films]
    numbers = args.simplify, args.min_confidence
    outputs = Outputs(args.output_formats or DEFAULT.formats, *numbers)
    images = find_images(photos, outputs) if photos or not films else []
    check_films(films, args.output)
    if args.ray and films:
        raise UserError(f"--ray: is for images. {films[0]} is a film.")
    if args.ray and (exported := find_saved_model(args.model)):
        raise UserError(
            f"--ray: is for a run or a .keras file. {exported} is exported, and sees an image "
            "whole, once."
        )
    # Python ends by a search for garbage in all that TensorFlow and Keras made, for seconds.
    atexit.register(gc.freeze)
    options = dict(tile=args.tile, scales=args.scales or (1.0,), flip=args.flip)
    # Ray's own machines open the network by Keras; here it only tells its classes.
    segmenter = open_network(what, **options, classes=args.classes, kept_graph=not args.ray)
    classes, colors = segmenter.classes, segmenter.colors
    job = segmenter.job | {"classes": classes, "colors": colors}
    work = dict(batch_size=args.batch_size, fresh=args.fresh, job=job)
    if images:
        _of_images(args, segmenter, images, options, work | {"outputs": outputs})
    if films:
        outputs = Outputs(args.output_formats or ("overlay",), *numbers)
        _of_films(args, segmenter, films, work | {"outputs": outputs})


def _of_images(args, segmenter, images, options, work):
    from fcn_keras.inference.predict import predict

    classes, colors = segmenter.classes, segmenter.colors
    if args.ray:
        from fcn_keras.inference.on_ray import predict_on_ray

        work |= options | dict(address=args.ray, workers=args.workers, classes=classes)
        written = predict_on_ray(args.model, images, args.output, **work)
    else:
        written = predict(segmenter, images, args.output, classes, colors, **work)
    endings = work["outputs"].endings
    beside = ["pictures"] * (not {"overlay", "side_by_side"}.isdisjoint(endings))
    beside += [
        name for name in ("confidence", "probabilities", "polygons", "tif") if name in endings
    ]
    more = f" with {', '.join(beside)}" if beside else ""
    print(f"{len(written)} label maps{more} in {args.output}")


def _of_films(args, segmenter, films, work):
    from fcn_keras.inference.video import predict_video

    segmenter.check_photographs("a film")
    faults = []
    for path in films:
        try:
            of = segmenter.classes, segmenter.colors
            written = predict_video(segmenter, path, args.output, *of, **work)
        except UserError as error:
            faults.append(str(error))
            continue
        places = " and ".join(str(place) for place in (written.film, written.folder) if place)
        print(f"{written.frames} frames in {places}" if written.frames else f"{places} is done")
    if faults:
        raise UserError(" ".join(faults))


COMMAND = Command(
    run,
    ARGUMENTS,
    stopped="stopped; the same command goes on from here",
    tensorflow=False,
)
