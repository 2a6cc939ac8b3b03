"""Anyone's own images, on any machine: MobileNetV2 from ImageNet weights.

    python train.py --dataset DIR

Crops are as large as most photographs of the usual data sets, since what a place is depends on all
that is around it: of 320x320, eight at a time, the network learns less in the same time. Batch
normalisation stays as it was pre-trained, and so do the first blocks, which saves a fifth of a
step. The other layers of MobileNetV2 learn at a tenth of the head's rate: at the head's they
forget what ImageNet taught them. Dice beside cross-entropy counts a class as much as any other,
however few pixels it has. The last step up is a stack of transposed convolutions and ReLUs, which
begins as bilinear interpolation and learns (`--upsampling bilinear` leaves it at that). Much
variety, of scale and colour, and dropout keep it from learning a thousand photographs by heart.

Cost: 20 training images a second on two cores of an AMD EPYC with AVX-512, where `--recipe small`
does 21 smaller ones: 17 minutes for the 5000 steps, on any data set; three times as long on AVX2
alone. On CamVid (367 images, 11 classes) the mean IU on the validation split is 0.72. Poles have
0.13, of 0.18 that a stride of 8 allows (`python -m fcn_keras data bounds CamVid`).
"""

SETTINGS = dict(
    backbone="mobilenet_v2",
    weights="imagenet",
    batch_norm="frozen",
    freeze="Conv1..block_2_add",
    upsampling="nonlinear",
    dropout=0.3,
    steps=5000,
    batch_size=4,
    crop_size=(384, 480),
    scale_min=0.5,
    scale_max=2.0,
    color=0.5,
    loss="cross_entropy+dice",
    optimizer="adam",
    learning_rate=2e-4,
    head_learning_rate_factor=10.0,
    warmup=0.05,
    validate_every=5,
)
