"""What the reference's solvers have in common: the "heavy" recipe.

One whole image at a time, drawn with replacement; the plain sum of the pixels' losses, so tiny
learning rates; so much momentum that a hundred images share in each step; biases at twice the
rate and without decay; bilinear kernels fixed; no augmentation.

A rate of 1e-10 on the sum over a 500x375 image is 1.9e-5 on the mean over its pixels, and with
a momentum of 0.99 each gradient moves the weights by a hundred times that, 1.9e-3.
"""

HEAVY = dict(
    weights="imagenet",
    geometry="paper",
    dropout=0.5,
    batch_size=1,
    crop_size=None,
    replacement=True,
    flip=False,
    normalization="sum",
    optimizer="caffe_sgd",
    learning_rate=1e-10,
    momentum=0.99,
    weight_decay=5e-4,
    schedule="constant",
    warmup=0.0,
    seed=1337,
)

# The same descent for today's hardware: batches, a mean over pixels, a falling rate, varied
# images. A mean over a batch's pixels is about 1/190 000 of an image's sum; 1.9e-5 * 16 images
# / (1 - 0.99) * (1 - 0.9) = 3e-3 moves the weights as far per image as HEAVY does. Skips are
# scaled down (at-once), so that one stage is enough.
MODERN = dict(
    variant="fcn8s-atonce",
    weights="imagenet",
    geometry="paper",
    dropout=0.5,
    batch_size=16,
    crop_size=(384, 384),
    scale_min=0.5,
    scale_max=2.0,
    color=0.2,
    normalization="valid_pixels",
    optimizer="caffe_sgd",
    learning_rate=3e-3,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="cosine",
    warmup=0.02,
)

# BGR means that the reference's data layers subtract, in grey levels.
VOC_MEAN = (104.00699, 116.66877, 122.67892)

CONTEXT_MEAN = (104.007, 116.669, 122.679)

NYUD_MEAN = (116.190, 97.203, 92.318)

# Of the natural logarithms of depths in millimetres.
NYUD_LOG_DEPTH_MEAN = 7.844

SIFTFLOW_MEAN = (114.578, 115.294, 108.353)
