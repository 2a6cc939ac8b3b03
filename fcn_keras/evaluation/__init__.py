"""Scores of networks and of label maps."""
