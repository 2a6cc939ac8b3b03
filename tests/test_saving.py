"""Networks saved with their training, as the README says, opened in processes of their own."""

import json
import subprocess
import sys

import numpy as np
import pytest

WRITE = """
import sys
import keras
import numpy as np
from fcn_keras import FCN8s, MeanIU, PixelCrossEntropy, SegmentationScores

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (4, 24, 32, 3), "uint8")
labels = rng.integers(0, 3, (4, 24, 32), "uint8")
labels[:, :5] = 255
model = FCN8s(num_classes=3, weights=None, width=1 / 64)
folder = sys.argv[1]
model.save(f"{folder}/network.keras")
model.compile(
    "adam",
    PixelCrossEntropy(class_weights=[1.0, 2.0, 3.0]),
    metrics=[MeanIU(3), SegmentationScores(3)],
)
model.fit(images, labels, batch_size=2, verbose=0)
model.save(f"{folder}/compiled.keras")
scores = model.predict(images, verbose=0)
np.savez(f"{folder}/batch.npz", images=images, labels=labels, scores=scores)
"""

# What stands for an environment that lacks the package.
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fcn_keras":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import keras
"""

OPEN = """
import json
import sys
import numpy as np

file, folder = sys.argv[1:]
batch = np.load(f"{folder}/batch.npz")
model = keras.models.load_model(f"{folder}/{file}"OPTIONS)
told = {"loss": type(model.loss).__name__ if model.compiled else None}
told["far"] = float(np.abs(model.predict(batch["images"], verbose=0) - batch["scores"]).max())
if model.compiled:
    told["scores"] = model.evaluate(
        batch["images"], batch["labels"], batch_size=2, verbose=0, return_dict=True
    )
    told["steps"] = int(model.optimizer.iterations.numpy())
print(json.dumps(told))
"""


def run(program, *args):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    code, _, said = run(WRITE, folder)
    assert code == 0, said
    return folder


def opened(saved, imports, file, options=""):
    code, told, said = run(imports + OPEN.replace("OPTIONS", options), file, saved)
    assert code == 0, said
    return json.loads(told.splitlines()[-1])


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, fcn_keras",
        pytest.param("import fcn_keras, keras", marks=pytest.mark.slow),
        pytest.param("import fcn_keras, tensorflow, keras", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_network_opens_where_the_package_is_imported(saved, imports):
    told = opened(saved, imports, "compiled.keras")
    assert told["loss"] == "PixelCrossEntropy"
    assert told["far"] < 1e-5
    assert told["steps"] == 2
    scores = told["scores"]
    # By hand from the logits: void left out, three classes weighed.
    batch = np.load(saved / "batch.npz")
    valid = batch["labels"] != 255
    logits, labels = batch["scores"][valid], batch["labels"][valid]
    probable = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    losses = -probable[np.arange(len(labels)), labels] * np.array([1.0, 2.0, 3.0])[labels]
    ids = logits.argmax(axis=-1)
    overlaps = [
        np.sum((ids == k) & (labels == k)) / np.sum((ids == k) | (labels == k)) for k in range(3)
    ]
    assert scores["loss"] == pytest.approx(losses.mean(), rel=1e-4)
    assert scores["mean_iu"] == pytest.approx(np.mean(overlaps), abs=1e-4)


def test_without_the_package_the_network_opens_uncompiled(saved):
    told = opened(saved, WITHOUT, "compiled.keras", ", compile=False")
    assert told == {"loss": None, "far": pytest.approx(0, abs=1e-5)}


def test_a_network_alone_opens_anywhere(saved):
    code, _, said = run(WITHOUT + OPEN.replace("OPTIONS", ""), "network.keras", saved)
    assert code == 0, said


@pytest.mark.parametrize(
    "imported", ["import fcn_keras", "from fcn_keras import UserError, resolve"]
)
def test_importing_the_package_imports_no_keras(imported):
    code, _, said = run(
        f"{imported}; import sys; assert not {{'keras', 'numpy'}} & {{*sys.modules}}"
    )
    assert code == 0, said


FIRST = """
import json
import sys

exec(sys.argv[1])
import keras

found = keras.saving.get_custom_objects()
names = sorted(name for name in found if name.startswith("fcn_keras>"))
print(json.dumps([names, "_AfterKeras" in [type(finder).__name__ for finder in sys.meta_path]]))
"""
# One of each kind of module; the others import it.
OTHERS = ("PixelCrossEntropy", "SumOfLosses", "CaffeSGD", "Bilinear", "build", "train")


@pytest.mark.parametrize(
    "name", ["MeanIU", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_any_name_may_be_imported_first(name):
    """Keras is imported by a module then that others need, and all classes are known after it."""
    code, told, said = run(FIRST, f"from fcn_keras import {name}")
    assert code == 0, said
    registered, is_waiting = json.loads(told)
    classes = ("Adam", "Bilinear", "CaffeSGD", "DiceLoss", "MeanIU", "PixelCrossEntropy")
    assert {f"fcn_keras>{each}" for each in classes} <= {*registered} and not is_waiting
