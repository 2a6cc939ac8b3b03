"""The command line as a user meets it.

What a process prints is checked on processes. Where only the answer to a mistake matters, `main`
is called in this one, which has TensorFlow loaded already.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import build, load_dataset, resolve
from fcn_keras.cli.app import COMMANDS
from fcn_keras.data.catalog import DATASETS
from fcn_keras.training.run import Run
from fcn_keras.training.settings import Settings

REPOSITORY = Path(__file__).parents[2]

ABC = {"classes": ["a", "b", "c"]}

# Narrow and random: a network that is built and saved in a second.
TINY = ("--recipe", "small", "--width", "0.03125")

# What TensorFlow and its libraries print at import and at work.
BANNER = re.compile(r"oneDNN|cuda|absl|XLA|rebuild TensorFlow|Warning|op_kernel", re.IGNORECASE)


# A command of a process that must have done without TensorFlow's Python.
WITHOUT_TENSORFLOW = (
    "-c",
    "import sys; from fcn_keras import cli; code = cli.main(); "
    "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules; exit(code)",
)


class Result(NamedTuple):
    code: int
    stdout: str
    stderr: str


def process(*command, **environment):
    """Runs Python in the repository's root."""
    # Variables that silence TensorFlow would hide what is checked here.
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def fcn(run_command, monkeypatch, tmp_path):
    """Calls a command in this process, in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return lambda *args: Result(*run_command(*args))


@pytest.fixture
def mistake(fcn, tmp_path):
    """Checks how a command answers a mistake: in one line that holds `words`, and by no file.

    Several faults in files are told in several lines.
    """

    def check(*args, words, several=False):
        before = contents(tmp_path)
        result = fcn(*args)
        assert_mistake(result, *words, several=several)
        assert contents(tmp_path) == before

    return check


def assert_mistake(result, *words, several=False):
    assert result.code == 2, result.stderr
    lines = r"\d faults.*\n(.+\n)+" if several else r".+\n"
    assert re.fullmatch(rf"(warning: .+\n)*error: .*{lines}", result.stderr), result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    for word in words:
        assert str(word) in result.stderr


def assert_no_banners(result):
    assert not BANNER.search(result.stdout + result.stderr), result.stdout + result.stderr


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def write_image(path, size=(12, 17)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network of three classes in a file of its own."""
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    build("fcn8s", 3, weights=None, width=0.03125, geometry="same").save(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_folder):
    """What `train.py` printed in the shortest of trainings, and the run it left."""
    root = make_folder(tmp_path_factory.mktemp("photos"), size=(40, 48), about=ABC)
    run = tmp_path_factory.mktemp("runs") / "run"
    command = ("train.py", *TINY, "--dataset", root, "--run-dir", run)
    result = process(*command, "--epochs", 1, "--batch-size", 2, "--crop-size", 32)
    assert result.code == 0, result.stderr
    return result, run


# Help, and what the parser refuses: without TensorFlow


@pytest.mark.parametrize(
    "command",
    [
        ["train.py"],
        ["export.py"],
        ["-m", "fcn_keras"],
        *(["-m", "fcn_keras", name] for name in COMMANDS),
        ["-m", "fcn_keras", "data", "check"],
        ["-m", "fcn_keras", "bench", "forward"],
    ],
    ids=" ".join,
)
def test_help_starts_without_large_libraries(command):
    result = process("-X", "importtime", *command, "--help")
    assert result.code == 0
    assert result.stdout.startswith("usage: ")
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "fcn_keras.cli.app" in imported
    assert not imported & {"tensorflow", "keras", "numpy"}


def test_help_lists_all_commands():
    text = process("-m", "fcn_keras", "--help").stdout
    assert re.findall(r"^    (\w+)  +[A-Z]", text, re.MULTILINE) == [*COMMANDS]


def test_help_of_train_tells_every_setting():
    text = process("train.py", "--help").stdout
    options = {f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    for option in options | {"--run-dir", "--devices", "--fresh"}:
        assert re.search(rf"^  {option}\b", text, re.MULTILINE), option


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train.py --variant fcn4s", ["--variant", "'fcn4s'", "fcn32s"]),
        ("train.py --learning-rte 0.1", ["--learning-rte"]),
        ("train.py --epochs ten", ["--epochs", "'ten'"]),
        ("train.py --crop-size 32x", ["--crop-size", "'32x'", "256x320"]),
        ("train.py shapes", ["shapes"]),
        ("export.py", ["RUN_OR_MODEL", "OUT"]),
        ("export.py a b --version 0", ["--version", "'0'"]),
        ("-m fcn_keras", ["COMMAND"]),
        ("-m fcn_keras fly", ["'fly'"]),
        ("-m fcn_keras predict a.keras a.png", ["--output"]),
        ("-m fcn_keras evaluate a.keras --batch-size 0", ["--batch-size", "'0'"]),
        ("-m fcn_keras data", ["COMMAND"]),
        ("-m fcn_keras data delete", ["'delete'"]),
        ("-m fcn_keras data show shapes", ["--output"]),
        ("-m fcn_keras data show shapes --output sheet", ["--output", ".png", "'sheet'"]),
        ("-m fcn_keras data show shapes --output a.png --count 0", ["--count", "'0'"]),
        ("-m fcn_keras data check", ["NAME_OR_DIR"]),
        ("-m fcn_keras data check photos --figure a.jpeg", ["--figure", ".png", "'a.jpeg'"]),
    ],
)
def test_parser_errors(command, words):
    result = process(*command.split())
    assert_mistake(result, *words, "--help")
    assert result.stdout == ""


# Mistakes in settings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--dataset nowhere", ["`dataset`", "shapes", "'nowhere'"]),
        ("--recipe paper", ["`recipe`", "shapes, light, folder, small", "'paper'"]),
        ("--epochs 0", ["`epochs`"]),
        ("--dropout -0.5", ["`dropout`"]),
        ("--seed 4294967296", ["`seed`"]),
        ("--learning-rate nan", ["`learning_rate`"]),
        ("--crop-size 0", ["`crop_size`"]),
        ("--scale-min 3", ["`scale_m", "3"]),
    ],
)
def test_settings_out_of_range(mistake, options, words):
    mistake("train", *options.split(), words=words)


@pytest.mark.parametrize("devices", ["tpu:0", "gpu:99", "cpu:0", "cpu:1,cpu:2", ""])
def test_no_such_device(mistake, make_folder, tmp_path, devices):
    root = make_folder(tmp_path / "photos")
    mistake("train", *TINY, "--dataset", root, "--devices", devices, words=["`devices`", devices])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.keras", ["missing.keras", "no file"]),
        ("weights.txt", [".keras, .weights.h5, .h5", ".caffemodel", "weights.txt"]),
        ("weights.npz", ["weights.npz"]),
        ("text.caffemodel", ["text.caffemodel"]),
        ("text.keras", ["text.keras"]),
        ("text.weights.h5", ["text.weights.h5"]),
    ],
)
def test_wrong_weights(mistake, make_folder, tmp_path, name, words):
    root = make_folder(tmp_path / "photos")
    if "missing" not in name:
        (tmp_path / name).write_text("not weights")
    mistake("train", *TINY, "--dataset", root, "--weights", tmp_path / name, words=words)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_weights_of_other_classes(mistake, network, make_folder, tmp_path, ending):
    root = make_folder(tmp_path / "photos", about={"classes": [*"abcd"]})
    path = network.with_suffix(ending)
    if not path.is_file():
        keras.models.load_model(network).save_weights(path)
    # Keras names one of the layers that do not fit; our own comparison names all of them.
    layer = "score_fr" if ending == ".keras" else "score_"
    mistake("train", *TINY, "--dataset", root, "--weights", path, words=[layer])


def test_imagenet_weights_are_for_the_full_network(mistake, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos")
    options = (*TINY, "--dataset", root, "--weights", "imagenet")
    mistake("train", *options, words=["width"])


@pytest.mark.parametrize(
    "options, file",
    [
        ((), "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        pytest.param(
            ("--recipe", "folder"),
            "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["light", "folder"],
)
def test_imagenet_weights_without_network(make_folder, tmp_path, options, file):
    """What to do is said, and no half-downloaded file or run is left."""
    root = make_folder(tmp_path / "photos")
    nobody = "http://127.0.0.1:9"  # so that no machine downloads anything
    result = process(
        *("train.py", "--dataset", root, *options, "--run-dir", tmp_path / "run"),
        KERAS_HOME=str(tmp_path / "keras"),
        http_proxy=nobody,
        https_proxy=nobody,
        no_proxy="",
    )
    assert_mistake(
        result,
        f"https://storage.googleapis.com/tensorflow/keras-applications/{file}",
        tmp_path / "keras" / "models" / Path(file).name,  # where to put it
        "--weights",
        "--recipe small",
    )
    assert_no_banners(result)
    assert not (tmp_path / "run").exists()
    assert not [path for path in (tmp_path / "keras").rglob("*") if path.suffix == ".h5"]


@pytest.mark.parametrize("name", ["nowhere", "text.keras"])
def test_nothing_to_start_from(mistake, make_folder, tmp_path, name):
    root = make_folder(tmp_path / "photos", about=ABC)
    (tmp_path / "text.keras").write_text("not a network")
    options = (*TINY, "--dataset", root, "--init-from", tmp_path / name)
    mistake("train", *options, words=[tmp_path / name])


# Mistakes in the data


def test_truncated_image(make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", size=(80, 100), about=ABC)
    Image.open(root / "train" / "train_1.png").save(root / "train" / "train_1.jpg")
    (root / "train" / "train_1.png").unlink()
    truncate(root / "train" / "train_1.jpg")
    before = contents(tmp_path)
    result = process("train.py", *TINY, "--dataset", root, "--run-dir", tmp_path / "run")
    assert_mistake(result, root / "train" / "train_1.jpg")
    assert result.stdout == ""
    assert contents(tmp_path) == before


def huge(path):
    """The header of a picture that would not fit into memory, and little behind it."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
    header = b"IHDR" + (30000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    data = path.read_bytes()
    path.write_bytes(data[:12] + header + zlib.crc32(header).to_bytes(4) + data[33:])


def damaged(path):
    """The end is right, but not all before it."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(60) + data[len(data) // 2 + 60 :])


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>404 not found</html>"),
    "header only": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "truncated": truncate,
    "huge": huge,
    "damaged": damaged,
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere.png")),
}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", BROKEN)
def test_training_does_not_start_with_a_broken_image(mistake, make_folder, tmp_path, kind, split):
    root = make_folder(tmp_path / "photos", train=3, val=3, size=(80, 100), about=ABC)
    path = root / split / f"{split}_1.png"
    BROKEN[kind](path)
    mistake("train", *TINY, "--dataset", root, words=[f"{path}: cannot be read as an image"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_training_does_not_start_with_a_folder_for_an_image(mistake, make_folder, tmp_path, split):
    root = make_folder(tmp_path / "photos", train=3, val=3, about=ABC)
    path = root / split / f"{split}_1.png"
    path.unlink()
    path.mkdir()
    mask = root / f"{split}annot" / path.name
    mistake("train", *TINY, "--dataset", root, words=[f"{mask}: has no image in {path.parent}"])


def test_training_stops_at_an_image_that_seemed_right(make_folder, tmp_path):
    """Whose checksums are right, but not what they are of: found when it is read, and said."""
    root = make_folder(tmp_path / "photos", size=(80, 100), about=ABC)
    path = root / "train" / "train_1.png"
    damaged(path)
    data = path.read_bytes()
    chunk = data[37 : 41 + int.from_bytes(data[33:37])]
    assert chunk.startswith(b"IDAT")
    end = 37 + len(chunk)
    path.write_bytes(data[:end] + zlib.crc32(chunk).to_bytes(4) + data[end + 4 :])
    command = ("train.py", *TINY, "--dataset", root, "--run-dir", tmp_path / "run")
    result = process(*command, "--epochs", 1, "--batch-size", 2, "--crop-size", 32)
    assert result.code == 2
    assert re.search(rf"^error: {re.escape(str(path))}: cannot be read", result.stderr, re.M)
    assert "Traceback" not in result.stderr


def test_folder_without_masks(mistake, tmp_path):
    write_image(tmp_path / "photos" / "train" / "a.png")
    options = (*TINY, "--dataset", tmp_path / "photos")
    mistake("train", *options, words=[tmp_path / "photos", "trainannot"])


@pytest.mark.parametrize("missing", ["train", "val"])
def test_split_that_training_needs(mistake, make_folder, tmp_path, missing):
    root = make_folder(tmp_path / "photos", **{missing: 0})
    mistake("train", *TINY, "--dataset", root, words=[root, f"'{missing}'"])


def test_image_without_mask(mistake, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos")
    (root / "valannot" / "val_0.png").unlink()
    words = [root / "val" / "val_0.png", root / "valannot" / "val_0.png"]
    mistake("train", *TINY, "--dataset", root, words=words)


@pytest.mark.parametrize("split", ["train", "val"])
def test_mask_of_another_size(mistake, make_folder, tmp_path, split):
    root = make_folder(tmp_path / "photos", size=(20, 28))
    mask = root / f"{split}annot" / f"{split}_0.png"
    Image.new("L", (20, 28)).save(mask)
    words = [mask, root / split / f"{split}_0.png", "20x28", "28x20"]
    mistake("train", *TINY, "--dataset", root, words=words)


@pytest.mark.parametrize("split", ["train", "val"])
def test_label_outside_the_classes(mistake, make_folder, tmp_path, split):
    root = make_folder(tmp_path / "photos", values=5, about=ABC)
    mask = root / f"{split}annot" / f"{split}_0.png"
    Image.new("L", (28, 20), 7).save(mask)
    words = [mask, "holds 7", "0..2, 255"]
    mistake("train", *TINY, "--dataset", root, words=words, several=True)


@pytest.mark.parametrize("words", ["data list", "bench cost", "train --help"])
def test_nobody_reads_the_output(words):
    """As behind `| head`: the rest is not written, and that is nobody's fault."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "fcn_keras", *words.split()]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    # Later Pythons pass over a help text that nobody reads.
    assert done.returncode in ((0, 141) if "--help" in words else (141,))
    assert done.stderr == ""


def test_folder_of_masks_that_is_missing(mistake, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos")
    shutil.rmtree(root / "trainannot")
    names = ["train_0.png", "train_1.png"]
    words = [root / folder / name for folder in ("train", "trainannot") for name in names]
    mistake("train", *TINY, "--dataset", root, words=words, several=True)


# Data sets


def test_list_of_data_sets_without_tensorflow(tmp_path):
    result = process("-X", "importtime", "-m", "fcn_keras", "data", "list", "--data-dir", tmp_path)
    assert result.code == 0
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "fcn_keras.data.catalog" in imported
    assert not imported & {"tensorflow", "tensorflow_datasets", "keras", "matplotlib"}
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*DATASETS]
    [line] = [line for line in lines if line.startswith("voc2012 ")]
    assert re.fullmatch(r"voc2012 +21 classes  host\.robots\.ox\.ac\.uk +not prepared", line)


@pytest.fixture
def faulty(make_folder, tmp_path):
    """A folder with two faults, and the files they are in."""
    root = make_folder(tmp_path / "photos", train=4, size=(80, 100), about=ABC)
    truncate(root / "train" / "train_1.png")
    Image.new("L", (100, 80), 9).save(root / "valannot" / "val_0.png")
    return root, [root / "train" / "train_1.png", root / "valannot" / "val_0.png"]


def test_check_of_a_good_folder(make_folder, tmp_path):
    """A process of its own: TensorFlow is not imported, and nothing but the report printed."""
    root = make_folder(tmp_path / "photos", about=ABC)
    figure = tmp_path / "figures" / "classes.png"
    command = ("-m", "fcn_keras", "data", "check", root)
    result = process(*command, "--figure", figure)
    assert (result.code, result.stderr) == (0, "")
    assert "no faults in 3 images" in result.stdout
    assert re.search(r"^  a  +\d+\.\d{4} ", result.stdout, re.MULTILINE)
    with Image.open(figure) as picture:
        assert picture.format == "PNG"
    result = process("-X", "importtime", *command)
    assert not re.search(r"\| +(tensorflow|keras|matplotlib)$", result.stderr, re.MULTILINE)


def test_check_of_a_faulty_folder(fcn, faulty, tmp_path):
    root, files = faulty
    result = fcn("data", "check", root, "--figure", tmp_path / "classes.pdf")
    assert (result.code, result.stderr) == (2, "")
    for path in files:
        assert re.search(rf"^  {re.escape(str(path))}: ", result.stdout, re.MULTILINE)
    assert "2 faults in 5 images" in result.stdout
    assert (tmp_path / "classes.pdf").read_bytes().startswith(b"%PDF")


def test_check_for_machines(fcn, faulty):
    root, files = faulty
    result = fcn("data", "check", root, "--json")
    assert (result.code, result.stderr) == (2, "")
    about = json.loads(result.stdout)
    assert [fault["file"] for fault in about["faults"]] == [*map(str, files)]
    assert [fault["kind"] for fault in about["faults"]] == ["unreadable", "label"]


@pytest.mark.parametrize("job", ["show", "check"])
def test_data_of_no_such_name(mistake, job):
    options = ["--output", "a.png"] * (job == "show")
    mistake("data", job, "nowhere", *options, words=["NAME_OR_DIR", "shapes", "'nowhere'"])


def test_check_of_a_folder_without_data(mistake, tmp_path):
    (tmp_path / "empty").mkdir()
    mistake("data", "check", tmp_path / "empty", words=[tmp_path / "empty", "trainannot"])


def test_show(fcn, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", about=ABC)
    output = tmp_path / "sheets" / "val.png"
    result = fcn("data", "show", root, "--split", "val", "--count", 3, "--output", output)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == f"photos, val, in {output}\n"
    with Image.open(output) as picture:
        assert picture.format == "PNG" and picture.width > 400


def test_show_unknown_split(mistake, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", about=ABC)
    options = ("--split", "test", "--output", tmp_path / "a.png")
    mistake("data", "show", root, *options, words=["--split", "train, val", "'test'"])


def test_show_broken_image(mistake, faulty, tmp_path):
    root, files = faulty
    mistake("data", "show", root, "--output", tmp_path / "a.png", words=[files[0]])


def test_registered_data_sets_are_opened_where_asked(fcn, make_folder, tmp_path, monkeypatch):
    """What preparing a set prints does not get into the JSON."""
    calls = []

    def load(*args):
        calls.append(args)
        print("preparing the data set")
        return load_dataset(make_folder(tmp_path / "photos", about=ABC))

    monkeypatch.setattr("fcn_keras.data.registry.load_dataset", load)
    where = ("--data-dir", "sets", "--manual-dir", "fetched")
    result = fcn("data", "prepare", "voc2012", *where)
    assert (result.code, result.stdout) == (0, "photos is prepared: 2 to train, 1 to val\n")
    result = fcn("data", "check", "voc2012", *where, "--json")
    assert result.code == 0 and json.loads(result.stdout)["faults"] == []
    assert fcn("data", "show", "voc2012", *where, "--output", "sheet.png").code == 0
    assert fcn("data", "check", "voc2012").code == 0
    where = [("voc2012", "sets", "fetched", None)] * 3
    assert calls == [*where, ("voc2012", None, None, None)]


@pytest.mark.parametrize("name", ["nowhere", "photos"])
def test_prepare_what_is_not_registered(mistake, make_folder, tmp_path, name):
    make_folder(tmp_path / "work" / "photos")
    mistake("data", "prepare", name, words=["NAME", "voc2012", f"{name!r}"])


# Mistakes about the run directory


@pytest.fixture
def earlier(make_folder, tmp_path):
    """A run that was started, and the options of the command that did so."""
    root = make_folder(tmp_path / "photos", about=ABC)
    settings = resolve("small", dataset=str(root), width=0.03125, epochs=3)
    run = Run(tmp_path / "run")
    run.start(settings, load_dataset(root))
    (tmp_path / "run" / "best.keras").write_text("hours of work")
    return run.path, ("train", *TINY, "--dataset", root, "--epochs", 3, "--run-dir", run.path)


def test_run_made_with_other_settings(mistake, earlier):
    run, command = earlier
    words = [run, "epochs was 3 and is now 4", "--run-dir", "--fresh"]
    mistake(*command, "--epochs", 4, words=words)


def test_run_made_with_other_data(mistake, earlier, tmp_path):
    run, command = earlier
    (tmp_path / "photos" / "dataset.json").write_text('{"classes": ["a", "b", "d"]}')
    mistake(*command, words=[run, "classes", "--run-dir"])


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"model_type": "bert"}', '{"settings": 1}'])
@pytest.mark.parametrize("fresh", [True, False])
def test_config_of_another_program(mistake, earlier, config, fresh):
    """A `config.json` alone makes no run: many programs have such a file beside their work."""
    run, command = earlier
    (run / "config.json").write_text(config)
    mistake(*command, *["--fresh"] * fresh, words=[run])


@pytest.mark.parametrize("fresh", [True, False])
def test_folder_that_is_no_run(mistake, earlier, fresh):
    run, command = earlier
    (run / "config.json").unlink()
    mistake(*command, *["--fresh"] * fresh, words=[run, "is no run"])


@pytest.mark.parametrize("fresh", [True, False])
def test_run_directory_that_is_a_file(mistake, earlier, fresh):
    run, command = earlier
    shutil.rmtree(run)
    run.write_text("a file")
    mistake(*command, *["--fresh"] * fresh, words=[run])


@pytest.mark.parametrize("broken", ["data", "weights"])
def test_fresh_deletes_nothing_before_all_is_right(mistake, earlier, tmp_path, broken):
    run, command = earlier
    if broken == "data":
        Image.new("L", (5, 5)).save(tmp_path / "photos" / "valannot" / "val_0.png")
        mistake(*command, "--fresh", words=["val_0.png"])
    else:
        mistake(*command, "--fresh", "--weights", "missing.keras", words=["missing.keras"])


# Mistakes about networks


def write_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("holiday.txt", "no network")


def write_network_of_unknown_layers(path, network):
    """What a network becomes whose custom layers' code is not here."""
    with zipfile.ZipFile(network) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = content.replace(b'"class_name": "MaxPooling2D"', b'"class_name": "Ours"')
                assert b"Ours" in content
            new.writestr(name, content)


def write_classifier(path):
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]).save(path)


@pytest.mark.parametrize("command", ["evaluate", "predict", "export", "convert"])
@pytest.mark.parametrize(
    "kind",
    ["missing", "empty folder", "text", "truncated", "zip", "unknown", "classifier", "suffix"],
)
def test_no_network(mistake, network, tmp_path, command, kind):
    path = tmp_path / "model.keras"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("not a network")
    elif kind == "truncated":
        shutil.copy(network, path)
        truncate(path)
    elif kind == "zip":
        write_zip(path)
    elif kind == "unknown":
        write_network_of_unknown_layers(path, network)
    elif kind == "classifier":
        write_classifier(path)
    elif kind == "suffix":
        path = path.with_suffix(".h5")
        shutil.copy(network, path)
    rest = {
        "evaluate": ["--dataset", "anything"],
        "predict": [write_image(tmp_path / "a.png"), "--output", tmp_path / "out"],
        "export": [tmp_path / "out"],
        "convert": [tmp_path / "out.weights.h5"],
    }
    mistake(command, path, *rest[command], words=[path])


@pytest.mark.parametrize("config", ["", "[]", '{"dataset": "coco"}', '{"dataset": {"classes": 3}}'])
def test_config_of_another_program_beside_a_network(fcn, network, tmp_path, config):
    """The network is used without what it should tell, or the file is named; no fault."""
    shutil.copy(network, tmp_path / "model.keras")
    (tmp_path / "config.json").write_text(config)
    result = fcn("convert", tmp_path / "model.keras", "--list")
    if result.code != 0:
        assert_mistake(result, tmp_path / "config.json")


def test_predict_no_such_file(mistake, network, tmp_path):
    good = write_image(tmp_path / "a.png")
    words = [tmp_path / "b.png", "no such file"]
    mistake("predict", network, good, tmp_path / "b.png", "--output", "out", words=words)


def test_predict_folder_without_images(mistake, network, tmp_path):
    (tmp_path / "photos").mkdir()
    words = [tmp_path / "photos", "holds no images"]
    mistake("predict", network, tmp_path / "photos", "--output", "out", words=words)


@pytest.mark.parametrize(
    "names", [("a/x.png", "b/x.png"), ("x.png", "x.jpg"), ("x.png", "x_overlay.png")]
)
def test_predict_two_images_that_would_write_one_file(mistake, network, tmp_path, names):
    images = [write_image(tmp_path / name) for name in names]
    mistake("predict", network, *images, "--output", "out", words=images)


def test_predict_does_not_overwrite_its_images(mistake, network, tmp_path):
    image = write_image(tmp_path / "photos" / "x.png")
    mistake("predict", network, image.parent, "--output", image.parent, words=[image])


def test_predict_into_a_file(mistake, network, tmp_path):
    image = write_image(tmp_path / "x.png")
    (tmp_path / "out").write_text("a file")
    mistake("predict", network, image, "--output", tmp_path / "out", words=[tmp_path / "out"])


@pytest.mark.parametrize(
    "options, words",
    [
        ("--tile 0", ["--tile", "'0'"]),
        ("--batch-size none", ["--batch-size", "'none'"]),
        ("--scales 1,big", ["--scales", "'1,big'"]),
        ("--scales 0,1", ["scales", "above 0", "0.0, 1.0"]),
        ("--classes a.json", ["--classes", "--server"]),
        ("--workers 2", ["--workers", "--ray"]),
        ("--server http://localhost:1/v1/models/a --tile 9", ["--tile", "--server"]),
        ("--server http://localhost:1/v1/models/a --flip", ["--flip", "--server"]),
        ("--server http://localhost:1/v1/models/a --scales 1", ["--scales", "--server"]),
        ("--server http://localhost:1/v1/models/a --ray auto", ["--ray", "--server"]),
    ],
)
def test_predict_options_that_make_no_sense(mistake, network, tmp_path, options, words):
    image = write_image(tmp_path / "x.png")
    mistake("predict", network, image, "--output", "out", *options.split(), words=words)


def test_predict_with_an_address_for_a_network(mistake, tmp_path):
    address, image = "http://localhost:1/v1/models/a", write_image(tmp_path / "x.png")
    for options in ((), ("--ray", "auto")):
        words = [address, "--server"]
        mistake("predict", address, image, "--output", "out", *options, words=words)


def test_predict_without_images(mistake, network):
    mistake("predict", network, "--output", "out", words=["IMAGE_OR_DIR", "--server"])


def test_predict_broken_image_among_good_ones(fcn, network, tmp_path):
    images = [write_image(tmp_path / "photos" / f"{name}.png") for name in "abc"]
    truncate(images[1])
    result = fcn("predict", network, tmp_path / "photos", "--output", tmp_path / "out")
    bar, error = result.stderr.split("error: ")
    assert result.code == 2
    assert str(images[1]) in error and "2 of 3" in error
    assert error.count("\n") == 1
    assert str(images[0]) not in error and "Traceback" not in result.stderr
    for stem in "ac":
        assert {*(tmp_path / "out").glob(f"{stem}*.png")} == {
            tmp_path / "out" / f"{stem}{end}.png" for end in ("", "_overlay", "_side_by_side")
        }
    assert not [*(tmp_path / "out").glob("b*")]


def test_export_onto_an_existing_version(mistake, network, tmp_path):
    (tmp_path / "out" / "1").mkdir(parents=True)
    (tmp_path / "out" / "1" / "saved_model.pb").write_text("an earlier export")
    words = [tmp_path / "out" / "1", "exists already", "--version"]
    mistake("export", network, tmp_path / "out", "--version", "1", words=words)


def test_export_onto_a_file(mistake, network, tmp_path):
    (tmp_path / "out").write_text("a file")
    mistake("export", network, tmp_path / "out", words=[tmp_path / "out", "not a folder"])


@pytest.mark.parametrize("name", ["out.h5", "out.keras", "out", "weights.h5.txt"])
def test_convert_to_a_wrong_ending(mistake, network, tmp_path, name):
    mistake("convert", network, tmp_path / name, words=[tmp_path / name, ".weights.h5"])


def test_convert_onto_an_existing_file(mistake, network, tmp_path):
    (tmp_path / "out.weights.h5").write_text("earlier weights")
    mistake("convert", network, tmp_path / "out.weights.h5", words=["exists already"])


def test_convert_to_nothing(mistake, network):
    mistake("convert", network, words=["OUT", "--list"])


def test_convert_another_network(mistake, tmp_path):
    """A network that is none of ours has no preprocessing that could go along."""
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(3, 1)(image)).save(tmp_path / "other.keras")
    arguments = (tmp_path / "other.keras", tmp_path / "out.weights.h5")
    mistake("convert", *arguments, words=[tmp_path / "other.keras"])


def test_evaluate_unknown_split(mistake, network, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", about=ABC)
    words = ["--split", "train, val", "'test'"]
    mistake("evaluate", network, "--dataset", root, "--split", "test", words=words)


def test_evaluate_on_other_classes(mistake, network, make_folder, tmp_path):
    root = make_folder(tmp_path / "photos", about={"classes": [*"abcd"]})
    mistake("evaluate", network, "--dataset", root, words=[network, root, "3", "4"])


def test_evaluate_on_nothing(mistake, network):
    mistake("evaluate", network, words=["--dataset"])


def test_evaluate_unknown_data_set(mistake, network):
    mistake("evaluate", network, "--dataset", "nowhere", words=["`dataset`", "'nowhere'"])


def test_evaluate_broken_image(network, make_folder, tmp_path):
    """TensorFlow logs what it meets while reading; only our line is to be seen."""
    root = make_folder(tmp_path / "photos", val=3, size=(80, 100), about=ABC)
    truncate(root / "val" / "val_1.png")
    result = process("-m", "fcn_keras", "evaluate", network, "--dataset", root, "--json")
    bar, error = result.stderr.split("error: ")
    assert result.code == 2 and result.stdout == ""
    assert str(root / "val" / "val_1.png") in error
    assert error.count("\n") == 1
    assert not bar.strip() or "evaluating" in bar
    assert_no_banners(result)
    assert "Traceback" not in result.stderr


# Stops and faults


@pytest.fixture
def convert_raises(monkeypatch):
    """Has the job of `convert` end with an exception."""

    def raises(error):
        def convert(*args, **options):
            raise error

        monkeypatch.setattr("fcn_keras.exporters.convert.convert", convert)

    return raises


def test_fault_of_ours(fcn, convert_raises):
    convert_raises(ZeroDivisionError("division by zero"))
    result = fcn("convert", "a", "b")
    assert result.code == 1
    assert result.stderr == "fault: ZeroDivisionError: division by zero (--debug shows where)\n"


def test_stopped_by_the_user(fcn, convert_raises):
    convert_raises(KeyboardInterrupt())
    result = fcn("convert", "a", "b")
    assert result.code == 130
    assert result.stderr == "stopped\n"


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("train.train", (), "stopped; the same command goes on from the last backup\n"),
        ("find_rate.find_learning_rate", ("--find-learning-rate",), "stopped; nothing is kept\n"),
    ],
)
def test_what_a_stopped_training_leaves(fcn, monkeypatch, function, options, message):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"fcn_keras.training.{function}", stop)
    result = fcn("train", *options)
    assert result.code == 130 and result.stderr == message


def test_debug_shows_where(fcn, tmp_path):
    result = fcn("predict", "--debug", tmp_path / "a", tmp_path / "b.png", "--output", "out")
    assert result.code == 2
    assert "Traceback" in result.stderr and "find_images" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


# What a good command prints


def test_train(trained):
    result, run = trained
    assert_no_banners(result)
    assert "Traceback" not in result.stderr
    assert str(run) in result.stdout
    assert re.search(r"^epoch 1/1  loss \d", result.stdout, re.MULTILINE)
    assert re.search(r"^  mean_iu +\d\.\d{5}$", result.stdout, re.MULTILINE)
    assert (run / "metrics.json").is_file() and not (run / "backup").exists()


def test_same_command_again(fcn, trained):
    _, run = trained
    settings = json.loads((run / "config.json").read_text())["settings"]
    before = contents(run)
    options = ("--epochs", 1, "--batch-size", 2, "--crop-size", 32)
    result = fcn("train", *TINY, "--dataset", settings["dataset"], "--run-dir", run, *options)
    assert (result.code, result.stderr) == (0, "")
    assert "has finished already" in result.stdout
    assert contents(run) == before


def test_evaluate_a_run_on_its_own_data(fcn, trained):
    """With --json, one object on standard output, and all else on standard error."""
    _, run = trained
    result = fcn("evaluate", run, "--json")
    assert result.code == 0
    scores = json.loads(result.stdout)
    assert scores == json.loads((run / "metrics.json").read_text())
    assert scores["per_class_iu"].keys() == {"a", "b", "c"}


def test_predict(fcn, network, tmp_path):
    write_image(tmp_path / "photos" / "a.png", (12, 17))
    write_image(tmp_path / "photos" / "b.JPG", (33, 5))
    output = tmp_path / "some" / "where"
    result = fcn("predict", network, tmp_path / "photos", "--output", output)
    assert result.code == 0, result.stderr
    assert result.stdout == f"2 label maps with pictures in {output}\n"
    ends = ("", "_overlay", "_side_by_side")
    pictures = {output / f"{stem}{end}.png" for stem in "ab" for end in ends}
    assert {*output.iterdir()} == {output / "summary.csv", *pictures}
    for stem, size in {"a": (17, 12), "b": (5, 33)}.items():
        with (
            Image.open(output / f"{stem}.png") as mask,
            Image.open(output / f"{stem}_overlay.png") as overlay,
        ):
            assert mask.size == overlay.size == size
            assert mask.mode == "P"


def test_predict_starts_with_the_graph_that_training_kept(trained, tmp_path):
    _, run = trained
    photo, output = write_image(tmp_path / "a.png"), tmp_path / "labelled"
    result = process(*WITHOUT_TENSORFLOW, "predict", run, photo, "--output", output)
    assert result.code == 0, result.stderr
    assert result.stdout == f"1 label maps with pictures in {output}\n"
    assert not BANNER.search(result.stderr)


def test_export(trained, tmp_path):
    _, run = trained
    result = process("export.py", run, tmp_path / "out")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == f"SavedModel in {tmp_path / 'out' / '1'}\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1"]
    about = json.loads((tmp_path / "out" / "1" / "assets" / "classes.json").read_text())
    assert about["classes"] == ["a", "b", "c"]


@pytest.mark.slow
def test_export_for_a_gpu(trained, fcn, tmp_path):
    _, run = trained
    for processor in ("cpu", "gpu"):
        result = fcn("export", run, tmp_path / processor, "--processor", processor)
        assert (result.code, result.stderr) == (0, "")
    graphs = [(tmp_path / name / "1" / "saved_model.pb").read_bytes() for name in ("cpu", "gpu")]
    # Bilinear steps up stay transposed convolutions there.
    assert [b"Conv2DBackpropInput" in graph for graph in graphs] == [False, True]


@pytest.mark.slow
def test_predict_with_what_was_exported(trained, network, fcn, mistake, tmp_path):
    _, run = trained
    exported, photo = tmp_path / "out", write_image(tmp_path / "a.png", (31, 45))
    assert fcn("export", run, exported).code == 0
    assert fcn("predict", run, photo, "--output", tmp_path / "run").code == 0

    command = (*WITHOUT_TENSORFLOW, "predict", exported, photo, "--output", tmp_path / "exported")
    result = process(*command)
    assert result.code == 0, result.stderr
    assert result.stdout == f"1 label maps with pictures in {tmp_path / 'exported'}\n"
    assert not BANNER.search(result.stderr)
    with (
        Image.open(tmp_path / "run" / "a.png") as expected,
        Image.open(tmp_path / "exported" / "a.png") as found,
    ):
        assert found.getpalette() == expected.getpalette()
        np.testing.assert_array_equal(found, expected)

    label_map = tmp_path / "exported" / "a.png"
    made = label_map.stat().st_mtime_ns
    assert process(*command).code == 0
    assert label_map.stat().st_mtime_ns == made  # by the same network: left as it is
    assert fcn("export", network, exported).code == 0  # a newer version
    assert process(*command).code == 0
    assert label_map.stat().st_mtime_ns != made

    for option, value in (("--tile", "9"), ("--scales", "1,2"), ("--ray", "auto")):
        words = [option, "is for a run or a .keras file", str(exported / "2")]
        mistake("predict", exported, photo, "--output", "out", option, value, words=words)
    [data] = (exported / "2" / "variables").glob("variables.data*")
    with open(data, "r+b") as file:
        file.truncate(100)
    result = process(*command)
    assert (result.code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {exported / '2'}: is damaged (")


def test_convert(fcn, network, tmp_path):
    target = tmp_path / "out.weights.h5"
    result = fcn("convert", network, target)
    assert (result.code, result.stderr) == (0, "")
    assert str(target) in result.stdout and target.is_file()


def test_list_of_weights(fcn, network):
    result = fcn("convert", network, "--list", "--json")
    assert (result.code, result.stderr) == (0, "")
    shapes = json.loads(result.stdout)
    assert shapes["conv1_1"] == [[3, 3, 3, 2], [2]]
    assert shapes["score_fr"][1] == [3]
    table = fcn("convert", network, "--list").stdout
    assert re.search(r"^conv1_1 +3x3x3x2  2$", table, re.MULTILINE)
