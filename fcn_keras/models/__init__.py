"""The networks of the paper. Start reading in `architecture.py`."""
