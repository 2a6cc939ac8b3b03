"""Opens networks by plain Keras, where neither this package nor, on another backend, TensorFlow is.

    KERAS_BACKEND=jax python open_networks.py FOLDER

Writes the logits of each `<name>.keras` in the folder, of the images in `images.npy` there, as
`<name>.npy`.
"""

import sys
import warnings
from pathlib import Path

import keras
import numpy as np
from helpers.backend_steps import BACKEND, Missing


def main(folder):
    warnings.simplefilter("error")
    # As in pyproject.toml.
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    assert BACKEND == "tensorflow" or "tensorflow" not in sys.modules
    for package in ("fcn_keras",) if BACKEND == "tensorflow" else ("fcn_keras", "tensorflow"):
        sys.meta_path.insert(0, Missing(package))
    for path in sorted(folder.glob("*.keras")):
        network = keras.models.load_model(path, safe_mode=True)
        np.save(path.with_suffix(".npy"), network.predict_on_batch(np.load(folder / "images.npy")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
