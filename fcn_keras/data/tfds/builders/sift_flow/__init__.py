"""SIFT Flow: outdoor scenes, each pixel with a semantic and a geometric class."""
