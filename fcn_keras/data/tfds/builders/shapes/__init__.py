"""Drawn scenes of plain shapes: a segmentation dataset that needs no download."""
