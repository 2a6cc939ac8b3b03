"""The command `bench cost`: what a network costs on paper."""

import json
from argparse import Namespace

from fcn_keras.cli.arguments import JSON, image_size, positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.cli.settings import HELP
from fcn_keras.models.architecture import GEOMETRIES, OUTPUT_STRIDES
from fcn_keras.models.backbones import BACKBONES, VGG16
from fcn_keras.models.upsampling import BILINEAR, UPSAMPLINGS, upsampling_of
from fcn_keras.models.variants import COLOR_HHA, VARIANTS
from fcn_keras.system.console import import_tensorflow_silently

ARGUMENTS: Arguments = {
    "--variant": dict(
        choices=[name for name in VARIANTS if name != COLOR_HHA],
        default="fcn8s",
        help="default: fcn8s",
    ),
    "--backbone": dict(choices=BACKBONES, default=VGG16, metavar="NAME", help=HELP["backbone"]),
    "--size": dict(type=image_size, default=(500, 500), help="height x width (default: 500x500)"),
    "--num-classes": dict(type=positive, default=21, metavar="N", help="default: 21"),
    "--width": dict(type=float, default=1.0, metavar="X", help="default: 1"),
    "--geometry": dict(choices=GEOMETRIES, default="paper", help=HELP["geometry"]),
    "--output-stride": dict(type=int, choices=OUTPUT_STRIDES, default=32, help="default: 32"),
    "--upsampling": dict(choices=UPSAMPLINGS, help=HELP["upsampling"]),
    "--learn-upsampling": dict(action="store_const", const=True, help=HELP["learn_upsampling"]),
    "--no-elide": dict(
        dest="elide_padding", action="store_false", help="compute all of the paper's padding"
    ),
    **JSON,
}


def run(args: Namespace) -> None:
    from fcn_keras.models.cost import cost, table

    names = ("backbone", "geometry", "output_stride", "width", "elide_padding")
    options = {name: getattr(args, name) for name in names}
    if args.backbone != VGG16:
        import_tensorflow_silently()
    options["upsampling"] = upsampling_of(args.upsampling, args.learn_upsampling)
    counted = cost(args.variant, args.size, args.num_classes, **options)
    asked = dict(variant=args.variant, size=args.size, num_classes=args.num_classes)
    asked["learn_upsampling"] = options["upsampling"] != BILINEAR
    print(json.dumps(asked | options | counted.as_dict()) if args.json else table(counted))


COMMAND = Command(run, ARGUMENTS, tensorflow=False)
