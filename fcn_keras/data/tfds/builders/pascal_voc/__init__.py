"""PASCAL VOC 2011 and 2012: photos and label maps of 20 kinds of objects."""
