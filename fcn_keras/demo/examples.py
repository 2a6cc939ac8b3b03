"""Images to try a network on."""

from pathlib import Path

import numpy as np

from fcn_keras.data.files.images import read_image
from fcn_keras.data.folders.folder import find_folder
from fcn_keras.data.tfds.builders.shapes.scene import draw_scene, scene_rng
from fcn_keras.errors import UserError
from fcn_keras.inference.run_folder import config_of, dataset_of

EXAMPLES = 5


def examples_of(source: str | Path) -> dict[str, np.ndarray]:
    """Returns some images of the data set that a run was made on, if they are at hand, by name.

    Args:
        source: a run directory, or anything else that `demo` shows, which has none.
    """
    try:
        config = config_of(source)
        name = dataset_of(config)
        if name == "shapes":
            scenes = (draw_scene(scene_rng("validation", i))[0] for i in range(EXAMPLES))
            return {f"scene {i + 1}": scene for i, scene in enumerate(scenes)}
        # Divided as the run did it, which has not been trained on these then.
        share = config.get("settings", {}).get("val_share")
        files = find_folder(name, share).splits if name and Path(name).is_dir() else {}
        paths = [pair.image for pair in files["val"].pairs] if "val" in files else []
        step = max(1, len(paths) // EXAMPLES)
        return {path.stem: read_image(path) for path in paths[::step][:EXAMPLES]}
    except UserError:  # No run, or its folder has changed since; the page does without.
        return {}
