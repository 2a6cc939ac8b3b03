"""Which annotation program has written the files in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcn_keras.data.annotations.coco import is_coco, read_coco
from fcn_keras.data.annotations.cvat import is_cvat, read_cvat
from fcn_keras.data.annotations.found import Annotated, load_json
from fcn_keras.data.annotations.label_studio import is_label_studio, read_label_studio
from fcn_keras.data.annotations.labelme import is_labelme, read_labelme
from fcn_keras.data.annotations.yolo import NAMES, read_yolo
from fcn_keras.data.files.listing import entries
from fcn_keras.data.folders.layout import SPLITS
from fcn_keras.errors import UserError

_FOLDERS = ("annotations", "labels", "images", "default")


def find_annotated(root: Path) -> Annotated | None:
    """Reads what an annotation program has written into a folder.

    Files are looked for in the folder, in those of splits, and in `annotations`.

    Args:
        root: the folder.

    Returns:
        None if there is nothing of a known format.

    Raises:
        UserError: if there are files of two formats, or one is wrong.
    """
    found: dict[str, Callable[[], Annotated]] = {}
    yamls = [root / name for name in NAMES if (root / name).is_file()]
    if yamls:
        found[str(yamls[0])] = lambda: read_yolo(yamls[0])
    cvat: list[Path] = []
    coco: dict[Path, Any] = {}
    studio: dict[Path, Any] = {}
    for folder in _places(root):
        labelme = None
        for path in entries(folder):
            if path.suffix.lower() == ".xml" and is_cvat(path):
                cvat.append(path)
            # Of LabelMe's files there is one for each image: the first one tells.
            elif path.suffix.lower() == ".json" and path.name != "dataset.json" and not labelme:
                content = load_json(path)
                if is_labelme(content):
                    labelme = path
                    found.setdefault("LabelMe", lambda: read_labelme(root))
                elif is_coco(content):
                    coco[path] = content
                elif is_label_studio(content):
                    studio[path] = content
    if len(cvat) > 1:
        raise UserError(f"{cvat[0]} and {cvat[1]}: both are CVAT's; leave one of them.")
    if cvat:
        found[str(cvat[0])] = lambda: read_cvat(cvat[0])
    if coco:
        found[str([*coco][0])] = lambda: read_coco(root, coco)
    if studio:
        found[str([*studio][0])] = lambda: read_label_studio(root, studio)
    if len(found) > 1:
        raise UserError(
            f"{root}: holds annotations of several formats ({', '.join(found)}); leave one."
        )
    for place, read in found.items():
        try:
            return read()
        except UserError:
            raise
        # Files hold anything.
        except Exception as error:
            raise UserError(
                f"{root if place == 'LabelMe' else place}: is not as its program writes it "
                f"({type(error).__name__}: {error})."
            ) from error
    return None


def _places(root):
    """The folder, and those in it that may hold files of annotations."""
    inside = [path for path in entries(root) if path.is_dir()]
    known = [path for path in inside if path.name.lower() in (*_FOLDERS, *SPLITS)]
    return [
        root,
        *known,
        *(
            path
            for folder in known
            for path in entries(folder)
            if path.is_dir() and path.name.lower() in (*_FOLDERS, *SPLITS)
        ),
    ]
