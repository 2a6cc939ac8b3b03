"""Any data set on a machine without a GPU: a narrow VGG16 from random weights.

    python train.py --variant fcn8s --dataset DIR --recipe small

Cost: 6 training images a second on two cores of an AMD EPYC, 10 on an Intel Xeon with AVX-512. On
CamVid (367 images, 11 classes) that is half an hour or 20 minutes, for a mean IU of 0.57 to 0.60 on
the validation split.

Clipped gradients let the rate be twice what a net without normalisation layers stands otherwise;
at half the rate and without them, 36 epochs end at 0.562.
"""

SETTINGS = dict(
    weights="none",
    geometry="same",
    width=0.25,
    dropout=0.0,
    epochs=30,
    batch_size=4,
    crop_size=(256, 256),
    scale_min=0.75,
    scale_max=1.33,
    color=0.15,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=1e-3,
    clip_norm=1.0,
    warmup=0.05,
    validate_every=5,
)
