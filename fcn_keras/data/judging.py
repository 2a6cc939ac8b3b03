"""What the masks of a data set say together that none of them says alone."""

import json
from collections.abc import Sequence

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.findings import Fault, Inspection, Look
from fcn_keras.data.folders.description import Description
from fcn_keras.errors import UserError

FEW = 0.01  # a smaller share of labelled pixels than most people mean

_NAMED = 12  # classes or colours that a text names


def judge_classes(inspection: Inspection, where: str, named: bool) -> None:
    """Enters what is wrong with how often classes occur.

    Args:
        inspection: what was counted.
        where: what to call the data set.
        named: whether somebody has named the classes.
    """
    several = len(inspection.heads) > 1
    for head, (title, classes) in enumerate(inspection.heads.items()):
        of = f"in {title}, " if several else ""
        pixels = {split: held.pixels[head] for split, held in inspection.splits.items()}
        labelled = {split: counts[: len(classes)] for split, counts in pixels.items()}
        occurs = sum(labelled.values(), np.zeros(len(classes), "int64")) > 0
        for split in pixels:
            # Masks that cannot be read are told by themselves.
            if pixels[split].any() and not labelled[split].any():
                text = f"{of}no mask of {split} has a labelled pixel"
                # The masks of a test set are often kept back.
                told = inspection.warnings if split == "test" else inspection.faults
                told.append(Fault("void", split, where, text))
                continue
            share = labelled[split].sum() / max(1, pixels[split].sum())
            if 0 < share < FEW:
                text = (
                    f"{of}{share:.2%} of the pixels of {split} are labelled; void counts for "
                    "nothing. If most of it is a class, say so in dataset.json (`values`)"
                )
                inspection.warnings.append(Fault("void", split, where, text))
        if _told(inspection, "reading"):
            continue
        if occurs.sum() == 1:
            text = (
                f"{of}all labelled pixels are {classes[int(np.argmax(occurs))]!r}; of one class a "
                "network learns nothing"
            )
            inspection.faults.append(Fault("classes", "", where, text))
        elif occurs.any() and named:
            _warn_of_absent(inspection, where, of, classes, labelled, occurs)


def _warn_of_absent(inspection, where, of, classes, labelled, occurs):
    absent = [name for name, there in zip(classes, occurs, strict=True) if not there]
    if absent:
        text = f"{of}these have no pixel: {_names(absent)}"
        inspection.warnings.append(Fault("classes", "", where, text))
    train = labelled.get("train", occurs)
    if train.any():
        unlearned = occurs & (train == 0)
        names = [name for name, so in zip(classes, unlearned, strict=True) if so]
        if names:
            text = f"{of}these have pixels, but none in train: {_names(names)}"
            inspection.warnings.append(Fault("classes", "train", where, text))


def judge_values(
    inspection: Inspection,
    looks: Sequence[Look],
    description: Description,
    counts: np.ndarray,
    named: bool,
) -> None:
    """Enters what is wrong with the values that a folder's masks hold.

    Args:
        inspection: what was counted.
        looks: what was seen.
        description: what the masks mean.
        counts: how many pixels have each value in a mask, over all splits, int64 `(256,)`.
        named: whether somebody has named the classes.
    """
    where = str(description.root)
    used = np.flatnonzero(counts)
    by_value = [look for look in looks if look.reading and look.reading.by != "color"]
    if description.values or not by_value:
        return
    if used.tolist() == [0, 255]:
        inspection.faults.append(Fault("reading", "", where, _binary(description)))
    elif not named:
        _judge_numbered(inspection, by_value, description, used)


def _binary(description):
    names = description.classes if len(description.classes) == 2 else ("background", "object")
    line = json.dumps({"values": {"0": names[0], "255": names[1]}}, ensure_ascii=False)
    return (
        "the masks hold 0 and 255 alone, and 255 is void unless dataset.json says otherwise. If it "
        f"is a class, say so there: {line}; if it is void, there is one class, of which a network "
        "learns nothing"
    )


def _judge_numbered(inspection, looks, description, used):
    where, values = str(description.root), used[used != IGNORE_LABEL]
    numbers = f"the masks hold {len(values)} values up to {values[-1]}"
    if len(values) > 16 and _is_noise(looks, description):
        text = (
            f"{numbers}, most of them in single pixels, as JPEG makes of masks, or resizing with "
            "interpolation: save masks as PNG, and resize them by the nearest pixel. If they are "
            "classes, name them in dataset.json (`classes`)"
        )
        inspection.faults.append(Fault("classes", "", where, text))
    elif 1 < len(values) < len(description.classes):
        text = f"{numbers}, so that {len(description.classes) - len(values)} of "
        text += f"{len(description.classes)} numbered classes have no pixel"
        if len(values) <= _NAMED:
            meant = {str(value): f"class_{i}" for i, value in enumerate(values)}
            text += ". If there are no others, say so in dataset.json: "
            text += json.dumps({"values": meant})
        inspection.warnings.append(Fault("classes", "", where, text))


def _is_noise(looks, description):
    """Whether most values of the masks hardly ever lie beside themselves."""
    alone, pixels = np.zeros((2, 256), "int64")
    for look in looks[:: max(1, len(looks) // 20)]:
        try:
            values = description.read_values(look.mask)
        except UserError:
            continue
        beside = np.zeros(values.shape, bool)
        for one, other in (
            (np.s_[:, 1:], np.s_[:, :-1]),
            (np.s_[1:], np.s_[:-1]),
        ):
            same = values[one] == values[other]
            beside[one] |= same
            beside[other] |= same
        pixels += np.bincount(values.ravel(), minlength=256)
        alone += np.bincount(values[~beside], minlength=256)
    there = pixels > 0
    return np.mean(alone[there] > 0.3 * pixels[there]) > 0.5


def judge_masks(inspection: Inspection, looks: Sequence[Look], description: Description) -> None:
    """Enters where masks contradict each other in how they are to be read."""
    where = str(description.root)
    for form in ("indexed", "grey", "picture"):
        some = [
            (look.reading.by, look.mask)
            for look in looks
            if look.reading and look.reading.form == form
        ]
        by = {kind: [mask for how, mask in some if how == kind] for kind in ("color", "value")}
        if by["color"] and by["value"]:
            text = (
                f"{by['color'][0]} shows its classes in colours, and {by['value'][0]} "
                "has other colours, or class ids. Save all in one way: in the classes' colours, or "
                "as grey images of class ids"
            )
            inspection.faults.append(Fault("reading", "", where, text))
        elif form == "indexed" and by["value"] and description.colors:
            text = (
                f"{len(by['value'])} indexed masks use none of the `colors` in dataset.json, and "
                f"are read by number: {by['value'][0]}"
            )
            inspection.warnings.append(Fault("reading", "", where, text))
    if not description.values:
        is_class = description.class_ids != IGNORE_LABEL
        fault = _other_palettes([look for look in looks if _by_entry(look)], is_class)
        if fault:
            inspection.faults.append(Fault("reading", "", where, fault))


def _by_entry(look):
    return look.reading and look.reading.palette is not None and look.reading.by == "value"


def _other_palettes(looks, is_class):
    """Says where the entries of palettes mean one class by number and another by colour."""
    colors: dict[int, tuple] = {}
    entries: dict[tuple, tuple] = {}
    for look in looks:
        used = np.flatnonzero((look.values[0].counts() > 0) & is_class)
        shown = [tuple(color) for color in look.reading.palette[used].tolist()]
        if len({*shown}) < len(shown):  # colours that tell nothing apart are not meant
            continue
        for entry, color in zip(used.tolist(), shown, strict=True):
            other, file = colors.setdefault(entry, (color, look.mask))
            if other != color:
                return _conflict(look.mask, f"entry {entry} is {color}", file, f"{other}")
            other, file = entries.setdefault(color, (entry, look.mask))
            if other != entry:
                return _conflict(look.mask, f"{color} is entry {entry}", file, f"entry {other}")
    return None


def _conflict(mask, here, file, there):
    return (
        f"in the palette of {mask} {here}, and in {file} it is {there}: by number they mean one "
        "class, by colour two. Give the `colors` of the classes in dataset.json, or save the masks "
        "as grey images of class ids"
    )


def _told(inspection, kind):
    return any(fault.kind == kind for fault in inspection.faults)


def _names(names):
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
