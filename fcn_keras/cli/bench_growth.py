"""The command `bench growth`: seconds and memory by size, beside the lines that they should be."""

from argparse import SUPPRESS, Namespace

from fcn_keras.bench.growth.curves import SIZES, Asked
from fcn_keras.bench.results import told
from fcn_keras.cli.arguments import JSON, figure_file, image_size, numbers_of, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.errors import UserError
from fcn_keras.models.backbones import BACKBONES
from fcn_keras.models.variants import VARIANTS, channels_of

# Option -> the kinds that it is for.
_FOR = {
    "variant": ("tiled", "whole", "classes"),
    "backbone": ("tiled", "whole", "classes"),
    "width": ("tiled", "whole", "classes"),
    "size": ("classes",),
    "num_classes": ("tiled", "whole"),
    "tile": ("tiled",),
    "memory": ("whole",),
}

_GIVEN = dict(default=SUPPRESS)

ARGUMENTS: Arguments = {
    "kind": dict(
        choices=[*SIZES],
        help="what grows: an image that is labelled in tiles, or as a whole; the number of "
        "classes; the number of images in a folder",
    ),
    "--sizes": dict(
        type=numbers_of,
        default=(),
        metavar="X,Y,..",
        help="megapixels, classes or images to measure at (default: "
        + "; ".join(f"{','.join(f'{x:g}' for x in sizes)}" for sizes in SIZES.values())
        + ")",
    ),
    "--variant": _GIVEN
    | dict(choices=[name for name in VARIANTS if channels_of(name) == 3], help="default: fcn8s"),
    "--backbone": _GIVEN
    | dict(choices=BACKBONES, metavar="NAME", help="default: mobilenet_v2; vgg16 is the paper's"),
    "--width": _GIVEN | dict(type=float, metavar="X", help="of vgg16 (default: 1)"),
    "--size": _GIVEN
    | dict(type=image_size, help="of the image where classes grow (default: 512x512)"),
    "--num-classes": _GIVEN
    | dict(type=positive, metavar="N", help="where they do not grow (default: 21)"),
    "--tile": _GIVEN | dict(type=positive, metavar="N", help="as for predict (default: 1024)"),
    "--memory": _GIVEN
    | dict(type=float, metavar="GB", help="what an image as a whole may take (default: 16)"),
    "--rounds": dict(
        type=positive, default=1, metavar="N", help="processes of each size, in turns (default: 1)"
    ),
    **JSON,
    "--figure": dict(type=figure_file, metavar="FILE", help="draw the curves beside their lines"),
}


def run(args: Namespace) -> None:
    given = {name: getattr(args, name) for name in _FOR if hasattr(args, name)}
    for name in given:
        if args.kind not in _FOR[name]:
            raise UserError(f"--{name.replace('_', '-')}: is not for {args.kind}.")
    asked = Asked(args.kind, args.sizes, **given)
    from fcn_keras.bench.growth.growth import bench_growth, results, table

    figures = results(asked, bench_growth(asked, args.rounds))
    if args.figure:
        from fcn_keras.figures.growth import growth_figure
        from fcn_keras.figures.style import save_figure

        save_figure(growth_figure(figures["curves"], figures["unit"]), args.figure)
    print(told(figures, args.json, "", table))


COMMAND = Command(run, ARGUMENTS)
