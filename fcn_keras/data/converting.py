"""A folder of images, with masks or shapes of any kind, as the plain layout."""

import io
import json
import os
import shutil
from pathlib import Path

from PIL import Image

from fcn_keras.data.dataset import in_parallel
from fcn_keras.data.files.images import image_bytes
from fcn_keras.data.folders.cutting import CutSplit
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.data.palette import palette_for
from fcn_keras.errors import UserError
from fcn_keras.system.files import writing


def convert_folder(root: str | Path, output: str | Path) -> dict[str, int]:
    """Writes a folder of images as `images/SPLIT`, `annotations/SPLIT` and `dataset.json`.

    Images are copied as they are. Masks are palette PNGs of class ids, 255 being void, whatever
    they were before: shapes of an annotation program, colours, other numbers. The folder appears
    when it is complete.

    Args:
        root: a folder, as `fcn_keras.data.folders.folder.load_folder` takes it.
        output: the folder to make.

    Returns:
        How many images each split has.

    Raises:
        UserError: if the output exists, or anything is wrong with the data set.
        WriteError: if the disk refuses it.
    """
    output = Path(output)
    if output.exists():
        raise UserError(f"{output}: exists already.")
    dataset = load_folder(root)
    with writing(output):
        aside = output.with_name(f".{os.getpid()}.{output.name}")
        aside.mkdir(parents=True)
        try:
            palette = palette_for(dataset.colors).tobytes()
            counts = {
                name: _write_split(split, aside, name, palette)
                for name, split in dataset.splits.items()
            }
            about: dict[str, object] = {
                "name": dataset.name,
                "classes": list(dataset.classes),
                "colors": [list(map(int, color)) for color in dataset.colors],
            }
            if dataset.stored:
                about["channels"] = dataset.stored.channels
            (aside / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
            aside.rename(output)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return counts


def _write_split(split, folder, name, palette):
    # Copied as they are, large or not.
    split = split.whole if isinstance(split, CutSplit) else split
    names = [*split.names]
    twice = {stem for stem in names if names.count(stem) > 1} if len({*names}) < len(names) else ()
    if twice:
        raise UserError(f"{name}: two images are called {min(twice)}, but for the ending.")

    def write(index):
        path, _ = split.files[index]
        stem, content = names[index], image_bytes(path)
        image = folder / "images" / name / f"{stem}{_ending(path, content)}"
        mask = folder / "annotations" / name / f"{stem}.png"
        for file in (image, mask):
            file.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(content)
        picture = Image.fromarray(split[index].label[..., 0])
        picture.putpalette(palette)
        picture.save(mask)

    return len([*in_parallel(write, range(len(split)), f"converting {name}")])


def _ending(path, content):
    """The ending of an image's file; by its content where it lay in another file."""
    if path.suffix.lower() != ".json":
        return path.suffix
    with Image.open(io.BytesIO(content)) as image:
        return {"JPEG": ".jpg"}.get(image.format or "", f".{(image.format or 'png').lower()}")
