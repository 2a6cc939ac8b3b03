"""What the readers of annotation files have in common: labels, images by name, splits."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fcn_keras.data.annotations.drawing import Drawn
from fcn_keras.data.files.images import IMAGE_SUFFIXES
from fcn_keras.data.files.listing import files_below
from fcn_keras.data.folders.layout import ALL, SPLITS
from fcn_keras.errors import UserError

BACKGROUND = "background"


@dataclass(frozen=True)
class Annotated:
    """A folder of images with files of shapes.

    Attributes:
        words: the format, for people.
        labels: what the shapes are labelled with; the first one is what lies under all shapes.
        label_maps: of each split those of its images.
        absent: of each split images that the files name, but that are not there.
        passed_over: what is no area, in words.
        colors: RGB of labels, as far as the format tells.
    """

    words: str
    labels: Sequence[str]
    label_maps: Mapping[str, Sequence[Drawn]]
    absent: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    passed_over: str = ""
    colors: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def with_background(labels: Iterable[str]) -> list[str]:
    """Returns labels with the background's in front, which may be one of them."""
    others = [*dict.fromkeys(label for label in labels if label.lower() != BACKGROUND)]
    return [BACKGROUND, *others]


def value_of(label: str, labels: Sequence[str]) -> int:
    """Returns a label's number.

    Raises:
        ValueError: if it is none of them.
    """
    return 0 if label.lower() == BACKGROUND else labels.index(label)


def split_of(*names: str) -> str:
    """Returns the split that a name has in it, such as "instances_train2017"; `ALL` for none.

    Args:
        *names: names of files and folders, the one that counts most first.
    """
    for name in names:
        for word in "".join(c if c.isalpha() else " " for c in name.lower()).split():
            if word in SPLITS:
                return SPLITS[word]
    return ALL


class Images:
    """The images below a folder, found by what annotation files call them.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._by_name: dict[str, list[Path]] = {}
        for path in files_below(root):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, split: str = ALL) -> Path | None:
        """Finds the image that is meant.

        Args:
            name: its name, perhaps with folders before it, which are all its own.
            split: the split that it is of; an image in the folder of another one is not meant.

        Returns:
            Its path, of several the one in the fewest folders; None if there is none.

        Raises:
            UserError: if nothing tells which of several is meant.
        """
        parts = Path(name.replace("\\", "/")).parts
        if Path(name).is_absolute() and Path(name).is_file():
            return Path(name)
        found = [
            path
            for path in self._by_name.get(parts[-1] if parts else "", ())
            if path.relative_to(self.root).parts[-len(parts) :] == parts
            and (split == ALL or self._split_of(path) in (ALL, split))
        ]
        own = [path for path in found if self._split_of(path) == split]
        depths = [len(path.parts) for path in own or found]
        found = [path for path in own or found if len(path.parts) == min(depths)]
        if len(found) > 1:
            raise UserError(f"{name!r} may be {found[0]} or {found[1]}: leave one of them.")
        return found[0] if found else None

    def _split_of(self, path):
        return split_of(*path.parent.relative_to(self.root).parts)


def load_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: if it is none; names it.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error}).") from error
