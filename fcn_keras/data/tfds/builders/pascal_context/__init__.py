"""PASCAL-Context: the images of VOC 2010 with a label on every pixel, 59 classes and background."""
