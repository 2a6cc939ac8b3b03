"""Photographs as cameras write them, and which Pillow reads them."""

import PIL

# A few odd files are read by Pillow 13 in another way than by those before, which are still taken
# where another package asks for them.
PILLOW = int(PIL.__version__.split(".")[0])

# What has to be done with the stored pixels, as the standard's table has it.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
