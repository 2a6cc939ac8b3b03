"""TensorFlow Datasets as data sets of this package."""
