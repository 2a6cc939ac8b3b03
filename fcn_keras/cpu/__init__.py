"""Convolutions as processors compute them fastest."""
