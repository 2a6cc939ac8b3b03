"""What can be named on the command line, apart from the code behind it: listing takes no time."""

VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce")

# Data set -> the module of its TFDS builder.
DATASETS = {"shapes": "fcn_keras.data.shapes.shapes_dataset_builder"}

RECIPES = ("shapes", "folder", "small")
