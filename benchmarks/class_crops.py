"""A class with a thousandth of the pixels, with and without `--class-crops`.

`python benchmarks/class_crops.py` makes photographs of a kind: spots in two colours on a noisy
ground. One colour is a class; the other belongs to the ground. The same network learns in the same
number of steps from crops at random places, and from crops half of which are centred on a pixel of
a class drawn evenly.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.train import train

SIZE, SPOT = 240, 8  # 64 of 57 600 pixels: 0.11 %
IMAGES = {"train": 48, "val": 24}
STEPS = 800
SEEDS = (0, 1)


def write_set(root):
    """Writes the set, and returns its folder."""
    rng = np.random.default_rng(0)
    for split, count in IMAGES.items():
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(60, 160, (SIZE, SIZE, 3), "uint8")
            mask = np.zeros((SIZE, SIZE), "uint8")
            places = rng.permutation((SIZE // SPOT) ** 2)[:6]
            for order, place in enumerate(places):
                top, left = (SPOT * part for part in divmod(place, SIZE // SPOT))
                window = np.s_[top : top + SPOT, left : left + SPOT]
                image[window] //= 2
                image[window][..., 0 if order == 0 else 1] += 110
                mask[window] = order == 0
            Image.fromarray(image).save(root / split / f"{number}_{split}.png")
            Image.fromarray(mask).save(root / f"{split}annot" / f"{number}_{split}.png")
    (root / "dataset.json").write_text(json.dumps({"classes": ["ground", "spot"]}))
    return root


def main():
    with tempfile.TemporaryDirectory() as folder:
        data = write_set(Path(folder) / "data")
        found = {}
        for seed in SEEDS:
            for share in (0.0, 0.5):
                settings = resolve(
                    "small",
                    dataset=str(data),
                    width=1 / 8,
                    steps=STEPS,
                    learning_rate=2e-3,
                    crop_size=(64, 64),
                    class_weights="none",
                    class_crops=share,
                    validate_every=100,
                    seed=seed,
                )
                run = train(settings, Path(folder) / f"{share}-{seed}")
                scores = json.loads((run / "metrics.json").read_text())
                found[share, seed] = scores["per_class_iu"]["spot"]
    print(f"IU of a class with {SPOT**2 / SIZE**2:.2%} of the pixels, after {STEPS} steps:")
    for (share, seed), value in found.items():
        print(f"  --class-crops {share}, seed {seed}: {value:.3f}")


if __name__ == "__main__":
    main()
