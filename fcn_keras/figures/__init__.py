"""Pictures of label maps, data sets and runs."""
