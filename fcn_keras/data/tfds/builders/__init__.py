"""One folder for each data set that is downloaded or generated."""
