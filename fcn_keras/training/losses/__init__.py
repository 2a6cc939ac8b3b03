"""Losses over pixels, void ones left out; Keras alone."""
