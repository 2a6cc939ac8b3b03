"""PASCAL-Context from small files in its original layout."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from fcn_keras.data.registry import load_dataset
from fcn_keras.data.tfds.builders import downloads
from fcn_keras.data.tfds.builders.pascal_context.pascal_context_dataset_builder import (
    IMAGES,
    LABELS,
    Builder,
)
from fcn_keras.errors import UserError

# labels.txt and 59_labels.txt of the annotations, without their numbers; the reference takes out
# spaces and calls three of the 59 by other names.
LABELS_459 = """
accordion, aeroplane, air conditioner, antenna, artillery, ashtray, atrium, baby carriage, bag,
ball, balloon, bamboo weaving, barrel, baseball bat, basket, basketball backboard, bathtub, bed,
bedclothes, beer, bell, bench, bicycle, binoculars, bird, bird cage, bird feeder, bird nest,
blackboard, board, boat, bone, book, bottle, bottle opener, bowl, box, bracelet, brick, bridge,
broom, brush, bucket, building, bus, cabinet, cabinet door, cage, cake, calculator, calendar,
camel, camera, camera lens, can, candle, candle holder, cap, car, card, cart, case, casette
recorder, cash register, cat, cd, cd player, ceiling, cell phone, cello, chain, chair, chessboard,
chicken, chopstick, clip, clippers, clock, closet, cloth, clothes tree, coffee, coffee machine,
comb, computer, concrete, cone, container, control booth, controller, cooker, copying machine,
coral, cork, corkscrew, counter, court, cow, crabstick, crane, crate, cross, crutch, cup, curtain,
cushion, cutting board, dais, disc, disc case, dishwasher, dock, dog, dolphin, door, drainer, dray,
drink dispenser, drinking machine, drop, drug, drum, drum kit, duck, dumbbell, earphone, earrings,
egg, electric fan, electric iron, electric pot, electric saw, electronic keyboard, engine,
envelope, equipment, escalator, exhibition booth, extinguisher, eyeglass, fan, faucet, fax machine,
fence, ferris wheel, fire extinguisher, fire hydrant, fire place, fish, fish tank, fishbowl,
fishing net, fishing pole, flag, flagstaff, flame, flashlight, floor, flower, fly, foam, food,
footbridge, forceps, fork, forklift, fountain, fox, frame, fridge, frog, fruit, funnel, furnace,
game controller, game machine, gas cylinder, gas hood, gas stove, gift box, glass, glass marble,
globe, glove, goal, grandstand, grass, gravestone, ground, guardrail, guitar, gun, hammer, hand
cart, handle, handrail, hanger, hard disk drive, hat, hay, headphone, heater, helicopter, helmet,
holder, hook, horse, horse-drawn carriage, hot-air balloon, hydrovalve, ice, inflator pump, ipod,
iron, ironing board, jar, kart, kettle, key, keyboard, kitchen range, kite, knife, knife block,
ladder, ladder truck, ladle, laptop, leaves, lid, life buoy, light, light bulb, lighter, line,
lion, lobster, lock, machine, mailbox, mannequin, map, mask, mat, match book, mattress, menu,
metal, meter box, microphone, microwave, mirror, missile, model, money, monkey, mop, motorbike,
mountain, mouse, mouse pad, musical instrument, napkin, net, newspaper, oar, ornament, outlet,
oven, oxygen bottle, pack, pan, paper, paper box, paper cutter, parachute, parasol, parterre,
patio, pelage, pen, pen container, pencil, person, photo, piano, picture, pig, pillar, pillow,
pipe, pitcher, plant, plastic, plate, platform, player, playground, pliers, plume, poker, poker
chip, pole, pool table, postcard, poster, pot, pottedplant, printer, projector, pumpkin, rabbit,
racket, radiator, radio, rail, rake, ramp, range hood, receiver, recorder, recreational machines,
remote control, road, robot, rock, rocket, rocking horse, rope, rug, ruler, runway, saddle, sand,
saw, scale, scanner, scissors, scoop, screen, screwdriver, sculpture, scythe, sewer, sewing
machine, shed, sheep, shell, shelves, shoe, shopping cart, shovel, sidecar, sidewalk, sign, signal
light, sink, skateboard, ski, sky, sled, slippers, smoke, snail, snake, snow, snowmobiles, sofa,
spanner, spatula, speaker, speed bump, spice container, spoon, sprayer, squirrel, stage, stair,
stapler, stick, sticky note, stone, stool, stove, straw, stretcher, sun, sunglass, sunshade,
surveillance camera, swan, sweeper, swim ring, swimming pool, swing, switch, table, tableware,
tank, tap, tape, tarp, telephone, telephone booth, tent, tire, toaster, toilet, tong, tool,
toothbrush, towel, toy, toy car, track, train, trampoline, trash bin, tray, tree, tricycle, tripod,
trophy, truck, tube, turtle, tvmonitor, tweezers, typewriter, umbrella, unknown, vacuum cleaner,
vending machine, video camera, video game console, video player, video tape, violin, wakeboard,
wall, wallet, wardrobe, washing machine, watch, water, water dispenser, water pipe, water skate
board, watermelon, whale, wharf, wheel, wheelchair, window, window blinds, wineglass, wire, wood,
wool
"""
LABELS_59 = """
aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, table, dog, horse, motorbike,
person, pottedplant, sheep, sofa, train, tvmonitor, bag, bed, bench, book, building, cabinet,
ceiling, cloth, computer, cup, door, fence, floor, flower, food, grass, ground, keyboard, light,
mountain, mouse, curtain, platform, sign, plate, road, rock, shelves, sidewalk, sky, snow,
bedclothes, track, tree, truck, wall, water, window, wood
"""

LISTS = {
    "train": ("2008_000008", "2008_000015", "2010_000001"),
    "val": ("2008_000002", "2010_000002"),
    "trainval": ("2008_000002",),
}
WITHOUT_LABEL = "2008_000015"
IDS = {"train": ["2008_000008", "2010_000001"], "val": ["2008_000002", "2010_000002"]}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(downloads, "faults_of", lambda urls: dict.fromkeys(urls, "no connection"))


def label_of(id):
    """A map in which every one of the 459 labels occurs, and 0."""
    rng = np.random.default_rng([*id.encode()])
    return rng.permutation(460).reshape(20, 23).astype("uint16")


def names(text):
    return [name.strip().replace(" ", "") for name in text.replace("\n", " ").split(",")]


def expected(label):
    """What the reference makes of it: classes found by name, all else background."""
    all_names, tasks = names(LABELS_459), names(LABELS_59)
    result = np.zeros(label.shape, int)
    for class_id, name in enumerate(tasks, start=1):
        result[label == all_names.index(name) + 1] = class_id
    return result


def write_images(root):
    lists = root / "VOCdevkit/VOC2010/ImageSets/Main"
    lists.mkdir(parents=True)
    for name, ids in LISTS.items():
        (lists / f"{name}.txt").write_text("".join(f"{id}\n" for id in ids))
    photos = root / "VOCdevkit/VOC2010/JPEGImages"
    photos.mkdir()
    for id in LISTS["train"] + LISTS["val"]:
        rng = np.random.default_rng([*id.encode(), 1])
        photo = Image.fromarray(rng.integers(0, 256, (20, 23, 3), "uint8"))
        photo.save(photos / f"{id}.jpg")
    return root


def write_labels(root):
    (root / "trainval").mkdir(parents=True)
    for ids in IDS.values():
        for id in ids:
            scipy.io.savemat(root / "trainval" / f"{id}.mat", {"LabelMap": label_of(id)})
    return root


@pytest.fixture
def manual(tmp_path):
    """A manual folder with both archives as they are fetched."""
    folder = tmp_path / "manual"
    folder.mkdir()
    with tarfile.open(folder / IMAGES.name, "w") as archive:
        archive.add(write_images(tmp_path / "images") / "VOCdevkit", "VOCdevkit")
    with tarfile.open(folder / LABELS.name, "w:gz") as archive:
        archive.add(write_labels(tmp_path / "labels") / "trainval", "trainval")
    return folder


@pytest.fixture
def unpacked(tmp_path):
    return write_labels(write_images(tmp_path / "manual"))


def load(manual, data_dir):
    return load_dataset("pascal_context", str(data_dir), str(manual))


def test_images_with_annotation_in_the_order_of_the_lists(manual, tmp_path):
    dataset = load(manual, tmp_path / "data")
    ids = {name: [split[i].id for i in range(len(split))] for name, split in dataset.splits.items()}
    assert ids == IDS


def test_labels_by_name(manual, tmp_path):
    dataset = load(manual, tmp_path / "data")
    for split in dataset.splits.values():
        for i in range(len(split)):
            label = split[i].label
            assert label.shape == (20, 23, 1) and label.dtype == np.uint8
            np.testing.assert_array_equal(label[..., 0], expected(label_of(split[i].id)))
            # No void: all else is background.
            np.testing.assert_array_equal(
                np.bincount(label.ravel(), minlength=60), [460 - 59] + [1] * 59
            )


def test_classes(manual, tmp_path):
    dataset = load(manual, tmp_path / "data")
    assert len(dataset.classes) == len(set(dataset.colors)) == 60
    renamed = {"table": "diningtable", "cloth": "clothes", "bedclothes": "bedcloth"}
    assert dataset.classes == (
        "background",
        *(renamed.get(name, name) for name in names(LABELS_59)),
    )
    assert dataset.colors[:2] == ((0, 0, 0), (128, 0, 0))
    assert not dataset.heads


def test_images_as_pillow_decodes_them(unpacked, tmp_path):
    example = load(unpacked, tmp_path / "data").splits["val"][1]
    with Image.open(unpacked / "VOCdevkit/VOC2010/JPEGImages/2010_000002.jpg") as image:
        np.testing.assert_array_equal(example.image, np.asarray(image))


def test_record_holds_the_photo_as_it_is(unpacked, tmp_path):
    load(unpacked, tmp_path / "data")
    photo = unpacked / "VOCdevkit/VOC2010/JPEGImages/2010_000002.jpg"
    builder = Builder(data_dir=tmp_path / "data", file_format="array_record")
    source = builder.as_data_source("validation", decoders={"image": tfds.decode.SkipDecoding()})
    assert source[1]["image"] == photo.read_bytes()


def test_both_archives_are_asked_for(tmp_path):
    with pytest.raises(UserError) as error:
        load(tmp_path / "manual", tmp_path / "data")
    for part in (IMAGES.name, *IMAGES.urls, LABELS.name, *LABELS.urls):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_alone_are_asked_for(tmp_path):
    write_images(tmp_path / "manual")
    with pytest.raises(UserError, match=LABELS.name) as error:
        load(tmp_path / "manual", tmp_path / "data")
    assert IMAGES.name not in str(error.value)


def test_no_annotation_of_the_images(unpacked, tmp_path):
    for id in IDS["val"]:
        (unpacked / "trainval" / f"{id}.mat").unlink()
    with pytest.raises(UserError, match="no annotation.*val.txt"):
        load(unpacked, tmp_path / "data")


@pytest.mark.parametrize("value", [460, 65535])
def test_labels_out_of_range_are_refused(unpacked, tmp_path, value):
    path = unpacked / "trainval" / f"{IDS['val'][0]}.mat"
    label = label_of(IDS["val"][0])
    label[3, 4] = value
    scipy.io.savemat(path, {"LabelMap": label})
    with pytest.raises(UserError, match=f"{path}.*from 0 to 459.*{value}"):
        load(unpacked, tmp_path / "data")


class PascalContextTest(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of every builder."""

    DATASET_CLASS = Builder
    SPLITS = {"train": 2, "validation": 2}

    @classmethod
    def setUpClass(cls):
        root = Path(cls.enterClassContext(tfds.testing.tmp_dir()))
        cls.EXAMPLE_DIR = write_labels(write_images(root))
        super().setUpClass()
