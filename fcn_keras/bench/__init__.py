"""How fast things are on this machine, and beside others."""
