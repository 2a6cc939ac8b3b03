"""Data sets: what they are, how they are read, batched and inspected."""
