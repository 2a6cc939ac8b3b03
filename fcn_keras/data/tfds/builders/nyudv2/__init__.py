"""NYUDv2: rooms in colour and depth, 40 classes."""
