"""A server's network as one that labels images."""

from io import BytesIO

from PIL import Image

from fcn_keras.errors import UserError

# What a server decodes. Images in other formats are sent as PNGs.
_SERVED = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def ask_server(client, photos):
    """What a server answers; for photos that it refuses a line instead."""
    files = [_encoded(photo) for photo in photos]
    answers = client.label(files)
    for place, (photo, answer) in enumerate(zip(photos, answers, strict=True)):
        # Not all that Pillow reads is decoded there, and names may lie.
        if answer is None:
            [answer] = client.label([_as_png(photo.image)])
            answers[place] = "is refused by the server." if answer is None else answer
    for photo, class_ids in zip(photos, answers, strict=True):
        if not isinstance(class_ids, str) and class_ids.shape != photo.image.shape[:2]:
            raise UserError(
                f"{photo.path}: has {photo.image.shape[:2]} pixels, and the server answered with "
                f"{class_ids.shape}."
            )
    return answers


def _encoded(photo):
    """The bytes of a file that a server decodes."""
    if photo.path.suffix.lower() in _SERVED:
        return photo.path.read_bytes()
    return _as_png(photo.image)


def _as_png(image):
    file = BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()
