"""The command `export`."""

from argparse import Namespace

from fcn_keras.cli.arguments import MODEL, positive
from fcn_keras.cli.command import Arguments, Command, Section
from fcn_keras.errors import UserError
from fcn_keras.exporters.formats import FORMATS, INT8, MAX_PIXELS, PRECISIONS, PROCESSORS, format_of
from fcn_keras.system.console import stderr_held

ARGUMENTS: Arguments = {
    **MODEL,
    "output": dict(
        metavar="OUT",
        help="folder that the server watches; or a file: .onnx, .xml (OpenVINO), .tflite (LiteRT) "
        "or .weights.h5 (Keras), which is run and compared with Keras before it appears",
    ),
    "--format": dict(choices=FORMATS, help="default: by the ending of OUT"),
    "--license": dict(metavar="TEXT", help="note to store with the network"),
}

SAVED_MODEL: Arguments = {
    "--version": dict(
        type=positive,
        metavar="N",
        help="number of the folder to make in OUT (default: one above the highest)",
    ),
    "--strict": dict(
        action="store_true",
        help="a file that cannot be decoded fails the whole request (default: its mask is empty)",
    ),
    "--max-pixels": dict(
        type=positive,
        metavar="N",
        help="do not decode files of more pixels (default: 25 million)",
    ),
    "--precision": dict(
        choices=(*PRECISIONS, INT8),
        help="of weights, and of computation where the processor has bfloat16, which halves the "
        "files (default: as trained); int8 is for other runtimes, and needs --calibrate",
    ),
    "--freeze": dict(
        action="store_true",
        help="write the weights as constants; takes memory, about 33 times the weights' size to "
        "export and 15 times to serve",
    ),
    "--processor": dict(
        choices=PROCESSORS,
        help="what the server computes on: a kind of processor, cpu for the one of this machine "
        "(the default), or gpu, where convolutions are no products of matrices",
    ),
}

RUNTIME: Arguments = {
    "--calibrate": dict(
        metavar="DIR|DATASET",
        help="with --precision int8: photographs such as the network will see; or a data set, on "
        "whose validation images it is scored too",
    ),
}


def run(args: Namespace) -> None:
    format = args.format or format_of(args.output)
    if (args.precision == INT8) != bool(args.calibrate):
        raise UserError("--precision int8 and --calibrate: need each other.")
    if args.precision == INT8:
        return _export_int8(args, format)
    if format != "savedmodel":
        return _export_to_runtime(args, format)
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


def _refuse(args, format, options):
    for option in options:
        if getattr(args, option[2:].replace("-", "_")):
            raise UserError(f"{option}: cannot be given with --format {format}.")


def _export_int8(args, format):
    _refuse(args, format, [option for option in SAVED_MODEL if option != "--precision"])
    from fcn_keras.exporters.int8 import check_int8_output, export_int8, report
    from fcn_keras.exporters.samples import samples_of
    from fcn_keras.inference.network import load_network

    check_int8_output(args.output, format)
    network = load_network(args.model)
    samples = samples_of(args.calibrate, network)
    found = export_int8(
        network.model,
        args.output,
        format,
        network.classes,
        network.colors,
        samples,
        args.license,
    )
    for line in report(found):
        print(f"{args.output}: {line}")


def _export_to_runtime(args, format):
    _refuse(args, format, [*SAVED_MODEL, *(["--license"] if format == "weights" else [])])
    from fcn_keras.exporters.runtimes import check_output, export_to_runtime
    from fcn_keras.inference.network import load_network

    check_output(args.output, format)
    network = load_network(args.model)
    model = network.full if format == "weights" else network.model
    with stderr_held():
        agreement = export_to_runtime(
            model, args.output, format, network.classes, network.colors, args.license
        )
    print(
        f"{args.output}: logits differ from Keras' by {agreement.difference:.1e} of the largest at "
        f"most, {agreement.labels:.3%} of the labels are the same"
        + ("" if agreement.tells else ", which says nothing: all of its logits are one number")
    )


COMMAND = Command(run, ARGUMENTS | RUNTIME, Section("options of a SavedModel", None, SAVED_MODEL))
