"""Small files in the layouts of PASCAL VOC and SBD."""

import tarfile
import zipfile
import zlib

import numpy as np
import scipy.io
import scipy.sparse
from PIL import Image

from fcn_keras.data.palette import voc_palette

VOC = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"


def rng_of(text):
    return np.random.default_rng(zlib.crc32(text.encode()))


def examples(split):
    return [split[i] for i in range(len(split))]


def size_of(id):
    """A height and width that other ids do not share."""
    return tuple(rng_of(id).integers(9, 40, 2).tolist())


def write_photo(path, size):
    """Writes a JPEG with colours that change too quickly for the colour planes of JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng_of(path.stem).integers(0, 256, (*size, 3), dtype="uint8")
    Image.fromarray(pixels).save(path, quality=85)


def write_palette_png(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    picture.putpalette(voc_palette().tobytes())
    picture.save(path)


def voc_mask(id):
    """Class ids, void at the border, all of which occur over a few ids."""
    mask = rng_of(f"voc {id}").integers(0, 21, size_of(id), dtype="uint8")
    mask[[0, -1]] = mask[:, [0, -1]] = 255
    return mask


def sbd_mask(id):
    return rng_of(f"sbd {id}").integers(0, 21, size_of(id), dtype="uint8")


def write_list(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{id}\n" for id in ids))


def write_voc(devkit, **splits):
    """Writes a year of VOC: photos, label maps and lists of the given splits."""
    for split, ids in splits.items():
        write_list(devkit / "ImageSets" / "Segmentation" / f"{split}.txt", ids)
        for id in ids:
            write_photo(devkit / "JPEGImages" / f"{id}.jpg", size_of(id))
            write_palette_png(devkit / "SegmentationClass" / f"{id}.png", voc_mask(id))
    both = sorted(id for ids in splits.values() for id in ids)
    write_list(devkit / "ImageSets" / "Segmentation" / "trainval.txt", both)
    (devkit / "Annotations").mkdir(exist_ok=True)
    return devkit


def write_mat(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), object)
    for i in range(20):
        boundaries[i, 0] = scipy.sparse.csc_array(mask == i + 1)
    present = np.unique(mask[mask > 0])[:, None]
    truth = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}
    scipy.io.savemat(path, {"GTcls": truth}, do_compression=True)


def write_sbd(dataset, **splits):
    """Writes SBD's release: photos, label maps in MATLAB files of version 5, lists."""
    for split, ids in splits.items():
        write_list(dataset / f"{split}.txt", ids)
        for id in ids:
            write_photo(dataset / "img" / f"{id}.jpg", size_of(id))
            write_mat(dataset / "cls" / f"{id}.mat", sbd_mask(id))
    return dataset


def pack(folder, archive, kind):
    """Packs what lies in a folder: as "tar", "tgz" or "zip", whatever the archive is called."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(
            archive, "w:gz" if kind == "tgz" else "w:", format=tarfile.USTAR_FORMAT
        ) as file:
            for path in sorted(folder.iterdir()):
                file.add(path, path.name)
    return archive
