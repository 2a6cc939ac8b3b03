"""Names that files and folders may have, each awkward in its own way."""

import os

# What is told to a shell, a pattern, a URL, a format, a list or a CSV file by these characters.
SIGNS = "[1] *?,{a}#%41%s$x'\"<&>;|~\\"

# Letters with accents in both spellings, an emoji, right to left, and a dash in front.
LETTERS = "-stra\u00dfe u\u0308\u00fc \U0001f600 \u05d0\u05d1"

# A name in Latin-1, as archives of other systems unpack: no UTF-8.
BYTES = os.fsdecode(b"Stra\xdfe")

NAMES = {"signs": SIGNS, "letters": LETTERS, "bytes": BYTES}
