"""Names of the data sets, apart from their code so that a command line can list them at once."""

# Name -> the module of its TFDS builder.
DATASETS = {"shapes": "fcn_keras.data.shapes.shapes_dataset_builder"}
