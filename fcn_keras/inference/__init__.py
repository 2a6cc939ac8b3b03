"""Trained networks opened, and images labelled with them."""
