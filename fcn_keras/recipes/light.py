"""Anyone's own images, on any machine: MobileNetV2 from ImageNet weights.

    python train.py --dataset DIR

Batch normalisation stays as it was pre-trained: batches of a few crops would spoil its statistics.

Cost: 9 training images a second on two cores of an AMD EPYC with AVX2 alone, where `--recipe small`
does 6. On CamVid (367 images, 11 classes) that is half an hour, by its 2024 steps of 0.9 s, for a
mean IU of 0.69 on the validation split, in a single run. Poles have 0.08, of 0.18 that a stride of
8 allows (`python -m fcn_keras data bounds CamVid`).
"""

SETTINGS = dict(
    backbone="mobilenet_v2",
    weights="imagenet",
    batch_norm="frozen",
    dropout=0.0,
    epochs=44,
    batch_size=8,
    crop_size=(320, 320),
    scale_min=0.5,
    scale_max=2.0,
    color=0.2,
    class_weights="sqrt_median_frequency",
    optimizer="adam",
    learning_rate=5e-4,
    warmup=0.05,
    validate_every=5,
)
