"""The commands `data list`, `show`, `check`, `bounds`, `convert` and `prepare`."""

import json
import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

from fcn_keras.cli.arguments import JSON, check_split, figure_file, positive
from fcn_keras.cli.command import Arguments, Command, Commands
from fcn_keras.cli.settings import setting_arguments
from fcn_keras.data.catalog import DATASETS, is_path
from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.console import import_tensorflow_silently
from fcn_keras.system.spelling import spelled_as_found

_EITHER = dict(metavar="NAME_OR_DIR", help="registered name, or a folder of images and masks")

_MANUAL_DIR: Arguments = {
    "--manual-dir": dict(metavar="DIR", help="where files lie that were fetched by hand")
}

_DATA_DIR: Arguments = {
    "--data-dir": dict(
        metavar="DIR", help="where prepared sets are kept (default: ~/tensorflow_datasets)"
    )
}

# The settings that decide what training crops are.
_OF_CROPS = (
    *("crop_size", "flip", "scale_min", "scale_max", "color", "class_crops", "vertical_flip"),
    *("rotation", "blur", "replacement", "seed"),
)

_CHANNELS: Arguments = {
    "--channels": dict(
        type=positive,
        metavar="N",
        help="images of N channels, with their numbers as stored (default: photographs)",
    )
}

_SHOW: Arguments = {
    **_CHANNELS,
    "--split": dict(default="train", help="default: train"),
    "--augmented": dict(
        action="store_true",
        help="draw what training will see first, by --recipe and the settings below",
    ),
    "--recipe": dict(metavar="NAME", help="default: the data set's own"),
    **{
        flag: options
        for flag, options in setting_arguments().items()
        if flag.removeprefix("--").replace("-", "_") in _OF_CROPS
    },
    "--count": dict(type=positive, default=12, metavar="N", help="how many images (default: 12)"),
    "--output": dict(type=figure_file, metavar="FILE", required=True, help=".png, .pdf or .svg"),
}

_CHECK: Arguments = {
    **JSON,
    **_CHANNELS,
    "--figure": dict(type=figure_file, metavar="FILE", help="draw the class frequencies"),
}

_BOUNDS: Arguments = {
    "--split": dict(default="val", help="default: val"),
    "--output": dict(type=figure_file, metavar="FILE", help="draw the table: .png, .pdf or .svg"),
    **JSON,
}


def list_all(args: Namespace) -> None:
    from fcn_keras.data.catalog import list_datasets

    rows = list_datasets(args.data_dir)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, classes, origin, state in rows:
        print(f"{name:{widths[0]}}  {classes:>{widths[1]}} classes  {origin:{widths[2]}}  {state}")


def show(args: Namespace) -> None:
    from fcn_keras.figures.dataset import contact_sheet_figure
    from fcn_keras.figures.style import save_figure

    given = {name: value for name, value in vars(args).items() if name in _OF_CROPS}
    if (given or args.recipe) and not args.augmented:
        raise UserError("--recipe and settings of crops must be left out without --augmented.")
    dataset, split = _open_dataset(args), args.split
    check_split(split, dataset.splits)
    crops: list = []
    if args.augmented:
        settings = resolve(args.recipe, dataset=args.dataset, channels=args.channels, **given)
        import_tensorflow_silently()
        from fcn_keras.training.crops import first_crops

        crops = first_crops(
            settings, dataset.splits[split], args.count, stored=bool(dataset.stored)
        )
    save_figure(contact_sheet_figure(dataset, split, args.count, crops), args.output)
    print(f"{dataset.name}, {split}, in {args.output}")


def check(args: Namespace) -> int:
    from fcn_keras.data.inspection import inspect

    # A folder is not opened as a data set, which it might be too broken for.
    what = _open_dataset(args) if _is_registered(args) else args.dataset
    inspection = inspect(what, channels=args.channels)
    if args.figure:
        from fcn_keras.figures.dataset import frequencies_figure
        from fcn_keras.figures.style import save_figure

        save_figure(frequencies_figure(inspection), args.figure)
    print(json.dumps(inspection.to_dict()) if args.json else inspection)
    return 2 if inspection.faults else 0


def bounds(args: Namespace) -> None:
    from fcn_keras.evaluation.bounds import bounds_table, stride_bounds
    from fcn_keras.evaluation.scores import named_scores

    dataset = _checked_dataset(args)
    confusions = stride_bounds(dataset, args.split)
    classes = dataset.heads or dataset.classes
    scores = {stride: named_scores(found, classes) for stride, found in confusions.items()}
    if args.output:
        from fcn_keras.figures.bounds import bounds_figure
        from fcn_keras.figures.style import save_figure

        save_figure(bounds_figure(scores, f"{dataset.name}, {args.split}"), args.output)
    count = len(dataset.splits[args.split])
    if args.json:
        about = {"dataset": dataset.name, "split": args.split, "images": count, "bounds": scores}
        print(json.dumps(about))
        return
    print(
        f"{dataset.name}, {args.split}, {count} image{'s' * (count != 1)}: the best IU of a stride,"
    )
    print("that of the labels themselves, averaged down to it and brought up again")
    print(bounds_table(scores))


def prepare(args: Namespace) -> None:
    if args.dataset not in DATASETS:
        raise UserError(
            f"NAME: must be one of {', '.join(DATASETS)}; a folder needs no preparation. "
            f"Received: {args.dataset!r}."
        )
    dataset = _open_dataset(args)
    splits = ", ".join(f"{len(split)} to {name}" for name, split in dataset.splits.items())
    print(f"{dataset.name} is prepared: {splits}")


def convert(args: Namespace) -> None:
    from fcn_keras.data.converting import convert_folder

    counts = convert_folder(spelled_as_found(args.dataset), args.output)
    told = ", ".join(f"{count} images to {name}" for name, count in counts.items())
    print(f"{args.output}: {told}")


def _is_registered(args):
    if not is_path(args.dataset):
        return True
    if not Path(spelled_as_found(args.dataset)).is_dir():
        raise UserError(
            f"NAME_OR_DIR: must be one of {', '.join(DATASETS)}, or the path of a folder. "
            f"Received: {args.dataset!r}, which is neither."
        )
    return False


def _open_dataset(args):
    from fcn_keras.data.registry import load_dataset

    # A folder needs no TensorFlow.
    if _is_registered(args):
        import_tensorflow_silently()
    with redirect_stdout(sys.stderr):  # standard output is for results
        channels = getattr(args, "channels", None)
        return load_dataset(args.dataset, args.data_dir, args.manual_dir, channels)


def _checked_dataset(args):
    """The data set, in whose `--split` nothing is wrong."""
    from fcn_keras.data.source import Source

    if _is_registered(args):
        import_tensorflow_silently()
    with redirect_stdout(sys.stderr):
        source = Source(args.dataset, data_dir=args.data_dir, manual_dir=args.manual_dir)
        dataset = source.dataset
        check_split(args.split, dataset.splits)
        source.check((args.split,))
    return dataset


def _command(run, dataset, arguments):
    return Command(
        run, {"dataset": dataset, **_MANUAL_DIR, **_DATA_DIR, **arguments}, tensorflow=False
    )


COMMAND = Commands(
    {
        "list": (
            "List the registered data sets.",
            Command(list_all, _DATA_DIR, tensorflow=False),
        ),
        "show": (
            "Draw photos, their masks and a legend.",
            _command(show, _EITHER, _SHOW),
        ),
        "check": (
            "Read all images and masks, and list all that is wrong.",
            _command(check, _EITHER, _CHECK),
        ),
        "bounds": (
            "Tell what IU each stride of a network allows at best, by the labels alone.",
            _command(bounds, _EITHER, _BOUNDS),
        ),
        "convert": (
            "Write a folder of images, with masks or an annotation program's shapes, as a plain "
            "one.",
            Command(
                convert,
                {
                    "dataset": dict(metavar="DIR", help="folder of images"),
                    "--output": dict(metavar="OUT", required=True, help="folder to make"),
                },
                tensorflow=False,
            ),
        ),
        "prepare": (
            "Fetch a data set, and bring it into the form that is read.",
            _command(prepare, dict(metavar="NAME", help=f"one of {', '.join(DATASETS)}"), {}),
        ),
    }
)
