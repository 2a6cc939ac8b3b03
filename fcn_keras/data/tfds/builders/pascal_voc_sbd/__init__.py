"""PASCAL VOC together with SBD, in the splits that the literature trains and scores on."""
