"""Which images to validate on, where nobody has said so."""

import hashlib
import re
from collections.abc import Iterable

from fcn_keras.errors import UserError


def validated(names: Iterable[str], share: float, group: str | None = None) -> set[str]:
    """Chooses images to validate on by the hash of their names.

    So an image stays where it is whatever others come or go, and on every machine.

    Args:
        names: what the images are called.
        share: which share of them to choose, about; at least one, and not all of several.
        group: a regular expression. Images for whose names it finds the same (its first group, if
            it has any) are chosen together: the frames of a video, the tiles of a scene.

    Raises:
        UserError: if the expression finds nothing in a name.

    Example:

    >>> validated([f"video{i // 10}_{i}" for i in range(50)], share=0.2, group=r"video\\d+")
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_group_of(name, group), []).append(name)
    places = {key: _place(key) for key in groups}
    chosen = {key for key, place in places.items() if place < share}
    if len(groups) > 1:
        # One is always chosen, and one never: which they are depends on the names alone, too.
        chosen |= {min(places, key=lambda key: (places[key], key))}
        chosen -= {max(places, key=lambda key: (places[key], key))}
    return {name for key in chosen for name in groups[key]}


def _group_of(name, group):
    if group is None:
        return name
    found = re.search(group, name)
    if found is None:
        raise UserError(f"`val_group` in dataset.json: {group!r} finds nothing in {name!r}.")
    return next((part for part in found.groups() if part is not None), found[0])


def _place(key):
    """A number from 0 to 1 that looks like a random one."""
    return (
        int.from_bytes(
            hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest()
        )
        / 2**64
    )
