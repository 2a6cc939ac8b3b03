"""From settings to a run directory with a network, its scores and pictures."""
