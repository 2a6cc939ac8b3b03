"""Types of arguments, and a parser that answers a mistake in one line."""

import argparse


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line."""

    def error(self, message):
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def positive(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1 up. Received: {text!r}")
    return int(text)


def port_number(text):
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a number up to 65535. Received: {text!r}")
    return int(text)


def figure_file(text):
    if not text.endswith((".png", ".pdf", ".svg")):
        raise argparse.ArgumentTypeError(f"must end in .png, .pdf or .svg. Received: {text!r}")
    return text


def numbers_of(text):
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers with commas between them. Received: {text!r}"
        ) from None


def crop_size(text):
    if text == "none":
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        raise argparse.ArgumentTypeError(f"must be like 256, 256x320 or none. Received: {text!r}")
    return int(sides[0]), int(sides[-1])


def image_size(text):
    sides = text != "none" and crop_size(text)
    if not sides or 0 in sides:
        raise argparse.ArgumentTypeError(f"must be like 256 or 256x320. Received: {text!r}")
    return sides
