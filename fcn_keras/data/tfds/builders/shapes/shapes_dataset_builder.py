"""TensorFlow Datasets builder for the drawn shapes."""

import tensorflow_datasets as tfds

from fcn_keras.data.tfds.builders.photos import PhotoBuilder
from fcn_keras.data.tfds.builders.shapes import scene


class Builder(PhotoBuilder):
    """Builds the `shapes` dataset: drawn scenes with one class index per pixel.

    The scenes are drawn while the dataset is prepared. Nothing is downloaded, and every preparation
    gives the same scenes. Examples keep the order they are drawn in, so the example at position `i`
    of a split is its scene `i`.

    Each example holds:

    - `"image"`: `uint8` array of shape `(96, 96, 3)`, RGB.
    - `"label"`: `uint8` array of shape `(96, 96, 1)`, a class index per pixel, or 255 at the border
      between two regions.
    - `"id"`: name of the scene, such as `"train-00012"`.

    `builder.info.metadata` holds the class names as `"classes"`, one RGB colour per class as
    `"colors"`, and the label to leave out of losses and metrics as `"ignore_label"`.

    Example:

    ```python
    builder = Builder(data_dir="data", file_format="array_record")
    builder.download_and_prepare()
    train = builder.as_data_source("train")
    image, label = train[0]["image"], train[0]["label"]
    ```
    """

    INFO = dict(
        description="""
Drawn scenes of two to five overlapping shapes with segmentation labels. Shapes and ground have
random colours and textures, so that only the form of a shape tells its class.
""",
        classes=scene.CLASSES,
        colors=scene.COLORS,
        features={
            "image": tfds.features.Image(shape=(96, 96, 3), encoding_format="png"),
            "label": tfds.features.Image(shape=(96, 96, 1), encoding_format="png"),
        },
    )
    SPLIT_SIZES = {"train": 2000, "validation": 300}

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.SPLIT_SIZES}

    def _generate_examples(self, split):
        for index in range(self.SPLIT_SIZES[split]):
            image, label = scene.draw_scene(scene.scene_rng(split, index))
            yield index, {"image": image, "label": label, "id": f"{split}-{index:05d}"}
