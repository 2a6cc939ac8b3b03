"""Images per second of this package's input pipeline beside PyTorch's DataLoader.

    python benchmarks/input_pipeline.py DIR

Both read the training images and masks of a folder with Pillow, cut a random window out, scale
it to 256x256 (image bilinear, mask nearest), mirror half of them, vary brightness, contrast and
saturation, and make batches of four. PyTorch has two worker processes, which do the same with
Pillow; it needs `pip install torch`. Runs alternate; medians and their ratio are printed.
"""

import argparse
import json
import random
import statistics
import time

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps

from fcn_keras.data.augmentation import Augmentation
from fcn_keras.data.batches import training_batches
from fcn_keras.data.dataset import Remembered
from fcn_keras.data.registry import load_dataset

SIZE, BATCH = 256, 4
AUGMENTATION = Augmentation((SIZE, SIZE), True, (0.75, 1.33), 0.15)


class Folder(torch.utils.data.Dataset):
    """What many a PyTorch project has: a list of files, and transforms by Pillow."""

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image, mask = (Image.open(path) for path in self.files[index])
        image = image.convert("RGB")
        low, high = AUGMENTATION.scale
        side = round(SIZE / (low * (high / low) ** random.random()))
        left = random.randint(min(0, image.width - side), max(0, image.width - side))
        top = random.randint(min(0, image.height - side), max(0, image.height - side))
        window = (left, top, left + side, top + side)
        image = image.crop(window).resize((SIZE, SIZE), Image.BILINEAR)
        mask = mask.crop(window).resize((SIZE, SIZE), Image.NEAREST)
        if random.random() < 0.5:
            image, mask = ImageOps.mirror(image), ImageOps.mirror(mask)
        for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = change(image).enhance(1 + AUGMENTATION.color * (2 * random.random() - 1))
        return torch.from_numpy(np.array(image)), torch.from_numpy(np.array(mask))


def rate(batches, images):
    """Images per second over one pass of about `images` images, the first batch left out."""
    batches = iter(batches)
    next(batches)
    started, done = time.perf_counter(), 0
    for batch in batches:
        done += len(batch[0])
        if done >= images:
            break
    return done / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    split = load_dataset(args.folder).splits["train"]
    cached = Remembered(split, 1 << 30)
    for index in range(len(cached)):
        cached[index]
    loader = torch.utils.data.DataLoader(
        Folder(split.files), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    contestants = {
        "fcn_keras": lambda: training_batches(split, AUGMENTATION, BATCH, seed=0),
        "fcn_keras, decoded before": lambda: training_batches(cached, AUGMENTATION, BATCH, seed=0),
        "PyTorch DataLoader": lambda: loader,
    }
    rates = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, make in contestants.items():
            rates[name].append(rate(make(), args.images))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    if args.json:
        print(json.dumps(medians))
        return
    for name, median in medians.items():
        print(f"{name:28} {median:7.1f} images/s  {median / medians['PyTorch DataLoader']:.2f}x")


if __name__ == "__main__":
    main()
