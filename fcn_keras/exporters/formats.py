"""What a network can be exported as, and what goes along. No large library is imported here.

A format other than the SavedModel is a module of its name in this package, with two functions:

    write(model, path, metadata)   writes the file
    run(path, model)               opens it: a function from images to logits

and for a runtime with one more:

    write_int8(model, whole, path, metadata, images)   writes it in 8 bits, as fits the images;
                                                       `whole` is what `write` wrote
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fcn_keras.errors import UserError
from fcn_keras.system.processor import KINDS
from fcn_keras.system.spelling import valid_text

# A network in some runtime: images uint8 `(N, H, W, 3)` to logits `(N, H, W, C)`, of each head
# if there are several.
Run = Callable[[Any], Any]

PRECISIONS = ("float32", "bfloat16")

# Of a file for a runtime, which is in float32 otherwise.
INT8 = "int8"

# `CPU` is what kind of processor this machine has.
CPU, GPU = "cpu", "gpu"
PROCESSORS = (CPU, *KINDS, GPU)

# A camera's 24 megapixels. A byte of a PNG may stand for a thousand pixels, and a network takes
# hundreds of bytes for each: an image's size has to be known before any of them is made.
MAX_PIXELS = 25_000_000


class Format(NamedTuple):
    """A format of exported networks.

    Attributes:
        endings: what the names of its files end in, the one that the user gives first. A
            SavedModel is a folder, of any name.
        packages: modules that write it and run it, which come with the extra of its name.
        int8: modules that write it in 8 bits, which come with the extra `int8`; None where there
            are no 8 bits.
    """

    endings: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    int8: tuple[str, ...] | None = None


FORMATS = {
    "savedmodel": Format(),
    "onnx": Format((".onnx",), ("onnx", "tf2onnx", "onnxruntime"), int8=()),
    "openvino": Format((".xml", ".bin"), ("openvino",), int8=("nncf",)),
    "litert": Format((".tflite",), ("ai_edge_litert",), int8=()),
    "weights": Format((".weights.h5",)),
}


def format_of(output: str) -> str:
    """Returns the format that a file's name stands for."""
    return next(
        (name for name, kind in FORMATS.items() if output.lower().endswith(kind.endings[:1])),
        "savedmodel",
    )


class Metadata(NamedTuple):
    """What goes along with an exported network.

    Attributes:
        classes: C names.
        colors: C RGB triples.
        license: under what terms the network may be used.
        pixels: channels and dtype of the images, where they are no photographs.
    """

    classes: Sequence[str]
    colors: Sequence[Sequence[int]]
    license: str | None = None
    pixels: tuple[int, str] | None = None

    def check(self, name: str, num_classes: int) -> None:
        """Raises a `UserError` if there are not as many names as a network has classes."""
        if len(self.classes) != num_classes:
            raise UserError(
                f"`classes` must name the {num_classes} classes of {name}. "
                f"Received: {len(self.classes)} names."
            )

    def texts(self) -> dict[str, str]:
        """Returns it as texts, by name: the lists are JSON."""
        license = {"license": valid_text(self.license)} if self.license else {}
        return {name: json.dumps(values) for name, values in self._lists().items()} | license

    def files(self) -> dict[str, str]:
        """Returns it as the contents of text files, by name."""
        license = {}
        if self.license:
            license["license.txt"] = valid_text(self.license).rstrip("\n") + "\n"
        return {"classes.json": json.dumps(self._lists(), indent=1) + "\n"} | license

    def _lists(self):
        pixels = {}
        if self.pixels:
            pixels["images"] = dict(zip(("channels", "dtype"), self.pixels, strict=True))
        colors = [list(color) for color in self.colors]
        return {"classes": list(self.classes), "colors": colors} | pixels
