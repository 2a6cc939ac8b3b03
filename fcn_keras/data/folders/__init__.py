"""Anyone's folder of images and masks as a data set."""
