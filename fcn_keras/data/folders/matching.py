"""Which mask belongs to which image, by their names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fcn_keras.data.annotations.drawing import Drawn
from fcn_keras.data.files.images import IMAGE_SUFFIXES
from fcn_keras.data.files.listing import files_below, key_of, passed_over
from fcn_keras.data.files.masks import MASK_SUFFIXES
from fcn_keras.errors import UserError


class Pair:
    """An image and its mask.

    Attributes:
        name: what they are called: the image's path in the folder of images, without the ending.
        image_file, mask_file: their files as text, as of very many a `Path` would take several
            times the memory; or shapes that the mask is drawn from.
    """

    __slots__ = ("image_file", "mask_file", "name")

    def __init__(self, name: str, image: Path | str, mask: Path | str | Drawn):
        self.name, self.image_file = name, str(image)
        self.mask_file = mask if isinstance(mask, Drawn) else str(mask)

    @property
    def image(self) -> Path:
        """The image's file."""
        return Path(self.image_file)

    @property
    def mask(self) -> Path | Drawn:
        """The mask's file; or shapes that it is drawn from."""
        return self.mask_file if isinstance(self.mask_file, Drawn) else Path(self.mask_file)


class PairedFiles(Sequence):
    """The files of pairs, `(image, mask)`, each made when it is asked for."""

    def __init__(self, pairs: Sequence[Pair]):
        self._pairs = pairs

    def __len__(self):
        return len(self._pairs)

    def __getitem__(self, index):
        pair = self._pairs[index]
        return pair.image, pair.mask


class Files(NamedTuple):
    """The files of a split, whatever is wrong with them.

    Attributes:
        pairs: images with their masks.
        without_mask: images, with where their masks should be.
        without_image: masks.
        same_name: two files each, of which one name cannot tell which one is meant.
        folder: where the images lie.
        absent: images that a list names, but that are not there.
        passed_over: what cannot be decoded, in words.
    """

    pairs: list[Pair]
    without_mask: list[Pair]
    without_image: list[Path]
    same_name: list[tuple[Path, Path]]
    folder: Path
    absent: list[Path]
    passed_over: str = ""


def match(
    folders: dict[str, tuple[Path, Path]],
    image_suffix: str = "",
    mask_suffix: str | None = None,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
) -> tuple[dict[str, Files], str]:
    """Finds the mask of each image.

    Args:
        folders: of each split, the folder of images and that of masks.
        image_suffix: what the name of an image has behind that which its mask's begins with.
        mask_suffix: what the name of a mask has behind that of its image. None to find it out:
            "" where an image has a mask of its own name, or else the one with which each image
            has a mask.
        suffixes: how the files of images end.

    Returns:
        A pair: the files of each split, and the suffix of the masks.

    Raises:
        UserError: if there are several suffixes with which each image has a mask.
    """
    images = {split: _Listed(pair[0], suffixes) for split, pair in folders.items()}
    masks = {split: _Listed(pair[1], MASK_SUFFIXES) for split, pair in folders.items()}
    for listed in images.values():
        listed.cut(image_suffix)
    if mask_suffix is None:
        mask_suffix = _suffix(
            [(images[split].files, masks[split].files) for split in folders if masks[split].files]
        )
    for listed in masks.values():
        listed.cut(mask_suffix)
    return {
        split: _matched(images[split], masks[split], mask_suffix) for split in folders
    }, mask_suffix


class _Listed:
    """The files of some endings in a folder and those within it.

    Attributes:
        folder: the folder.
        files: by their names in it, without the ending; as text, see `Pair`.
        same: two files each that have one name.
        passed_over: what cannot be decoded, in words.
    """

    def __init__(self, folder, suffixes):
        self.folder, self.files, self.same = folder, {}, []
        others = []
        for path in files_below(folder) if folder.is_dir() else ():
            if path.suffix.lower() in suffixes:
                key = key_of(path, folder)
                if key in self.files:
                    self.same.append((path, Path(self.files[key])))
                self.files.setdefault(key, str(path))
            else:
                others.append(path)
        self.passed_over = passed_over(others, suffixes)

    def cut(self, suffix):
        """Leaves out what does not end in a suffix, and the suffix in the names of the rest."""
        if suffix:
            self.files = {
                name.removesuffix(suffix): path
                for name, path in self.files.items()
                if name.endswith(suffix)
            }
            kept = {*self.files.values()}
            self.same = [pair for pair in self.same if kept & {*map(str, pair)}]


def _matched(images, masks, suffix):
    found = _by_last_name(images.files, masks.files)
    if found is None:
        found = masks.files
    return Files(
        [
            Pair(_name(images, path), path, found[name])
            for name, path in images.files.items()
            if name in found
        ],
        [
            Pair(_name(images, path), path, masks.folder / f"{name}{suffix}.png")
            for name, path in images.files.items()
            if name not in found
        ],
        [Path(path) for name, path in found.items() if name not in images.files],
        masks.same + images.same,
        images.folder,
        [],
        images.passed_over,
    )


def _name(images, path):
    return key_of(Path(path), images.folder)


def _by_last_name(images, masks):
    """Masks by the images' names, where only the folders in which they lie are called otherwise."""
    if not images or not masks or images.keys() & masks.keys():
        return None
    ends = [{_last(name): name for name in files} for files in (images, masks)]
    if any(len(end) < len(files) for end, files in zip(ends, (images, masks), strict=True)):
        return None
    if not ends[0].keys() & ends[1].keys():
        return None
    return {ends[0].get(_last(name), name): path for name, path in masks.items()}


def _last(name):
    return name.rpartition("/")[2]


def _suffix(files: list[tuple[dict, dict]]) -> str:
    """What masks have behind the names of their images."""
    images = sum(len(some) for some, _ in files)
    if not images or any(
        {_last(name) for name in some} & {_last(name) for name in masks} for some, masks in files
    ):
        return ""
    counts: Counter[str] = Counter()
    for some, masks in files:
        ends = {_last(name) for name in some}
        for mask in masks:
            last = _last(mask)
            counts.update(last[at:] for at in range(1, len(last)) if last[:at] in ends)
    fitting = sorted(suffix for suffix, count in counts.items() if count == images)
    folder = Path(next(iter(files[0][1].values()))).parent
    if len(fitting) > 1:
        shown = " or ".join(f'{{"mask_suffix": "{suffix}"}}' for suffix in fitting)
        raise UserError(
            f"{folder}: each image has several masks. Say which are meant in dataset.json: {shown}."
        )
    suffix, count = counts.most_common(1)[0] if counts else ("", 0)
    if not fitting and count >= images / 2:
        raise UserError(
            f"{folder}: {count} of {images} images have a mask "
            f"called as they are with {suffix!r} behind. If that is how masks are called, say so "
            f'in dataset.json: {{"mask_suffix": "{suffix}"}}.'
        )
    return fitting[0] if fitting else ""
