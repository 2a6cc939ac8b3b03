"""Networks as files for servers and other programs."""
