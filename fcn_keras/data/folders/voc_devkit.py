"""The layout of PASCAL VOC on disk: lists of ids, photos, label maps as palette PNGs."""

from pathlib import Path

from fcn_keras.errors import UserError

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)

_LISTS = "ImageSets/Segmentation"


def find_devkit(root: Path) -> Path | None:
    """Finds a year of VOC.

    Args:
        root: the folder of a year, such as `VOCdevkit/VOC2012`, or the one around it.

    Returns:
        The folder of the year; None if there is none.

    Raises:
        UserError: if there are several.
    """
    if (root / _LISTS).is_dir():
        return root
    years = [path.parents[1] for path in sorted(root.glob(f"VOC20[0-9][0-9]/{_LISTS}"))]
    if len(years) > 1:
        raise UserError(
            f"{root}: holds several years of VOC; name one of {', '.join(map(str, years))}."
        )
    return years[0] if years else None


def read_ids(devkit: Path, split: str) -> list[str]:
    """Reads which images belong to a split, in the order of the list.

    Args:
        devkit: the folder of a year.
        split: "train", "val" or another list of `ImageSets/Segmentation`.

    Raises:
        UserError: if there is no such list; names the file.
    """
    return read_list(devkit / _LISTS / f"{split}.txt")


def read_list(path: Path) -> list[str]:
    """Reads a file of ids, one in a line.

    Raises:
        UserError: if there is no such file; names it.
    """
    if not path.is_file():
        raise UserError(f"{path}: is missing.")
    return path.read_text().split()


def photo_and_mask(devkit: Path, id: str) -> tuple[Path, Path]:
    """Returns where a photo and its label map should be."""
    return devkit / "JPEGImages" / f"{id}.jpg", devkit / "SegmentationClass" / f"{id}.png"


def split_pairs(devkit: Path) -> dict[str, list[tuple[Path, Path]]]:
    """Lists where the photos of every split and their label maps should be.

    `trainval` is no split of its own, and `test` only one where its label maps are, which are
    not published.

    Raises:
        UserError: if there are no lists.
    """
    pairs = {}
    for split in ("train", "val", "test"):
        if (devkit / _LISTS / f"{split}.txt").is_file():
            files = [photo_and_mask(devkit, id) for id in read_ids(devkit, split)]
            if split != "test" or any(mask.is_file() for _, mask in files):
                pairs[split] = files
    if not pairs:
        raise UserError(f"{devkit / _LISTS}: holds neither train.txt nor val.txt.")
    return pairs
