"""What the recipes share, and how they are listed."""
