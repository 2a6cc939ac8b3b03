"""How seconds and memory grow with what there is to do."""
