"""What recipes are resolved by, and what those of the reference share."""
