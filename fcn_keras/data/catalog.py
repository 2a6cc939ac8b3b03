"""Which data sets can be named, and what is known of them without opening any."""

import os
from pathlib import Path

# Data set -> the folder of its TFDS builder in `builders`, and which of its configurations.
DATASETS = {
    "shapes": ("shapes", None),
    "voc2011": ("pascal_voc", "2011"),
    "voc2012": ("pascal_voc", "2012"),
    "sbd": ("sbd", None),
    "voc2011_sbd": ("pascal_voc_sbd", "2011"),
    "voc2012_sbd": ("pascal_voc_sbd", "2012"),
    "nyudv2": ("nyudv2", "color"),
    "nyudv2/hha": ("nyudv2", "hha"),
    "nyudv2/color_hha": ("nyudv2", "color_hha"),
    "siftflow": ("sift_flow", None),
    "pascal_context": ("pascal_context", None),
}

# Data set -> how many classes it has, and where it comes from: the builders know, but they take
# seconds to import.
ABOUT = {
    "shapes": ("5", "drawn by this package"),
    "voc2011": ("21", "host.robots.ox.ac.uk"),
    "voc2012": ("21", "host.robots.ox.ac.uk"),
    "sbd": ("21", "www2.eecs.berkeley.edu"),
    "voc2011_sbd": ("21", "voc2011 and sbd"),
    "voc2012_sbd": ("21", "voc2012 and sbd"),
    "nyudv2": ("40", "dl.caffe.berkeleyvision.org"),
    "nyudv2/hha": ("40", "dl.caffe.berkeleyvision.org"),
    "nyudv2/color_hha": ("40", "dl.caffe.berkeleyvision.org"),
    "siftflow": ("33+3", "www.cs.unc.edu"),
    "pascal_context": ("60", "cs.stanford.edu, with VOC2010"),
}


def list_datasets(data_dir: str | Path | None = None) -> list[tuple[str, str, str, str]]:
    """Lists the registered data sets without opening any.

    Args:
        data_dir: where prepared sets are kept; TFDS's own default if not given.

    Returns:
        For each: its name, how many classes it has, where it comes from, and whether it is
        prepared, in words.
    """
    home = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    rows = []
    for name, (folder, config) in DATASETS.items():
        classes, origin = ABOUT.get(name, ("?", "?"))
        prepared = sorted((home / folder / (config or "")).glob("*/dataset_info.json"))
        state = f"prepared, version {prepared[-1].parent.name}" if prepared else "not prepared"
        rows.append((name, classes, origin, state))
    return rows
