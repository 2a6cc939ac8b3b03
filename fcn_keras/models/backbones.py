"""The classifiers that a network can be built on, by name; no Keras."""

from typing import NamedTuple

VGG16 = "vgg16"


class Backbone(NamedTuple):
    """A classifier of `keras.applications`.

    Attributes:
        builder: name of the function there.
        preprocessing: what its ImageNet weights expect of an image, see `PREPROCESSING`.
        scalable: whether its channels can be scaled (`width`).
        size: which side its images are to have where it is built; None if that is all the same.
    """

    builder: str
    preprocessing: str
    scalable: bool = False
    size: int | None = None


# What is made of RGB in 0..255, as `keras.applications` calls it: numbers from -1 to 1; less
# ImageNet's mean, divided by its deviation; BGR less ImageNet's mean; nothing, as the classifier
# does it itself.
PREPROCESSING = ("tf", "torch", "caffe", "none")


def _family(name, builder, sizes, preprocessing, ending="", builder_ending=""):
    return {
        f"{name}{str(size).lower()}{ending}": Backbone(
            f"{builder}{size}{builder_ending}", preprocessing
        )
        for size in sizes
    }


CLASSIFIERS = {
    "mobilenet": Backbone("MobileNet", "tf", True, 224),
    "mobilenet_v2": Backbone("MobileNetV2", "tf", True, 224),
    "mobilenet_v3_small": Backbone("MobileNetV3Small", "none", True),
    "mobilenet_v3_large": Backbone("MobileNetV3Large", "none", True),
    **_family("efficientnet_b", "EfficientNetB", range(8), "none"),
    **_family("efficientnet_v2_b", "EfficientNetV2B", range(4), "none"),
    **_family("efficientnet_v2_", "EfficientNetV2", "SML", "none"),
    **_family("resnet", "ResNet", (50, 101, 152), "caffe"),
    **_family("resnet", "ResNet", (50, 101, 152), "tf", "_v2", "V2"),
    **_family("densenet", "DenseNet", (121, 169, 201), "torch"),
    "inception_v3": Backbone("InceptionV3", "tf", size=299),
    "inception_resnet_v2": Backbone("InceptionResNetV2", "tf", size=299),
    "vgg19": Backbone("VGG19", "caffe"),
    **_family("convnext_", "ConvNeXt", ("Tiny", "Small", "Base", "Large", "XLarge"), "none"),
    "xception": Backbone("Xception", "tf"),
    "nasnet_mobile": Backbone("NASNetMobile", "tf", size=224),
    "nasnet_large": Backbone("NASNetLarge", "tf", size=331),
}

BACKBONES = (VGG16, *CLASSIFIERS)
