"""SBD: label maps for all images of PASCAL VOC 2011 that show objects with outlines."""
