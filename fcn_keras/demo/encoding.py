"""Files that stand in a page itself."""

import base64
from io import BytesIO

from PIL import Image

# Longest side of the pictures on the page: what a window shows, and a connection carries at once.
SHOWN = 1280


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    """Returns a picture as a file; the options are those of Pillow's `save`."""
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Returns a file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
