"""A SavedModel behind HTTP."""
