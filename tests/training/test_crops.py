"""What training sees first, as it is shown before."""

from dataclasses import fields, replace

import numpy as np
import pytest
from helpers.folders import write_folder

from fcn_keras.cli.app import parse
from fcn_keras.data.batches import training_batches
from fcn_keras.data.registry import load_dataset
from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.crops import augmentation_of, first_crops


@pytest.mark.parametrize("replacement", [False, True])
def test_first_crops_are_those_of_training(tmp_path, replacement):
    folder = str(write_folder(tmp_path / "data", train=7, val=2))
    options = dict(crop_size=(16, 24), rotation=20.0, class_crops=0.5, replacement=replacement)
    settings = resolve("small", dataset=folder, seed=3, **options)
    split = load_dataset(folder).splits["train"]
    crops = first_crops(settings, split, 5)
    stream = training_batches(
        split, augmentation_of(settings), 4, 3, replacement=replacement
    ).as_numpy_iterator()
    images, labels = (
        np.concatenate(arrays) for arrays in zip(next(stream), next(stream), strict=True)
    )
    np.testing.assert_array_equal([crop.image for crop in crops], images[:5])
    np.testing.assert_array_equal([crop.label for crop in crops], labels[:5])
    assert {crop.id for crop in crops} <= {split[index].id for index in range(7)}
    assert len(first_crops(settings, split, 50)) == 7
    changed = resolve("small", dataset=folder, seed=4, **options)
    assert (first_crops(changed, split, 1)[0].image != crops[0].image).any()


def test_every_setting_of_the_crops_may_be_given():
    """What changes the crops, of all settings, is an argument of `data show`; nothing else is."""
    start = resolve("small")
    other = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v + 0.25}
    given = {"replacement", "seed"}  # the order, and all that is drawn
    for field in fields(start):
        value = getattr(start, field.name)
        if field.name == "crop_size":
            changed = (8, 8)
        elif type(value) in other:
            changed = other[type(value)](value)
        else:
            continue
        try:
            settings = replace(start, learn_upsampling=None, **{field.name: changed})
        except (UserError, TypeError):
            continue
        if augmentation_of(settings) != augmentation_of(start):
            given.add(field.name)
    assert len(given) == 11
    line = "data show DIR --augmented --output a.png"
    of_command = {*vars(parse(line.split()))}
    for name in given:
        flag = f"--{name.replace('_', '-')}"
        value = [] if type(getattr(start, name)) is bool else ["1"]
        assert name in {*vars(parse([*line.split(), flag, *value]))} - of_command


def test_crops_are_shown(run_command, tmp_path):
    folder = str(write_folder(tmp_path / "data", train=3, val=1))
    sheet = tmp_path / "sheet.png"
    show = ("data", "show", folder, "--output", sheet)
    code, output, _ = run_command(*show, "--augmented", "--crop-size", "16x24", "--rotation", "20")
    assert code == 0 and str(sheet) in output and sheet.stat().st_size > 1000
    code, _, error = run_command(*show, "--rotation", "20")
    assert code == 2 and "left out without --augmented" in error
    code, _, error = run_command(*show, "--augmented", "--rotation", "200")
    assert code == 2 and "`rotation` must be at most 180" in error
