"""FCN-AlexNet on PASCAL VOC and SBD, from CaffeNet's ImageNet weights.

    python train.py --recipe voc-fcn-alexnet

The one that averages its loss over pixels and its gradients over 20 images. Its trunk's biases
learn as its kernels do. The weights are Caffe's own file, in the working directory:
bvlc_reference_caffenet.caffemodel, sha1 4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46.

Published: VOC 2011 seg11valid, 736 images (percent).
Cost: 2 000 000 images, in 100 000 steps.
"""

from fcn_keras.recipes.common.reference import HEAVY, VOC_MEAN

PUBLISHED = dict(mean_iu=48.0)

SETTINGS = HEAVY | dict(
    variant="fcn-alexnet",
    dataset="voc2011_sbd",
    weights="bvlc_reference_caffenet.caffemodel",
    input_mean=VOC_MEAN,
    steps=2000000,
    normalization="valid_pixels",
    learning_rate=0.0001,
    momentum=0.9,
    accumulate=20,
)
