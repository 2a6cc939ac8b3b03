"""Networks of segmentation_models_pytorch from Keras' weights, in processes of their own.

PyTorch cannot be relied on to run where TensorFlow has been imported before it.
"""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from fcn_keras.bench.child import run_child

pytestmark = pytest.mark.skipif(
    find_spec("segmentation_models_pytorch") is None, reason="needs segmentation_models_pytorch"
)

ENCODER = """
import json, sys
import numpy as np, torch
from fcn_keras.bench.peers.smp import SmpNetwork, preprocessed, turned
import keras

keras.config.set_dtype_policy("float64")  # in which rounding hides nothing
keras.config.set_floatx("float64")
classifier = keras.applications.MobileNetV2((96, 128, 3), include_top=False, weights=None)
rng = np.random.default_rng(0)
for layer in classifier.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.set_weights([rng.uniform(0.5, 1.5, x.shape) for x in layer.get_weights()])
        # Small enough for 1e-3 and 1e-5 to differ.
        layer.moving_variance.assign(rng.uniform(1e-3, 2e-3, layer.moving_variance.shape))
classifier.get_layer("Conv1").trainable = False
image = rng.integers(0, 256, (2, 96, 128, 3), "uint8")
wanted = np.array(classifier((image / np.float32(127.5) - 1).astype("float64")))

network = SmpNetwork("fpn", 5).double()
network.copy_encoder(classifier)
network.train()  # the encoder's batch normalisation goes by what it has all the same
with torch.no_grad():
    found = network.encoder(preprocessed(turned(image)).double())[-1]
found = found.permute(0, 2, 3, 1).numpy()[:, ::-1, ::-1]
encoder = dict(network.encoder.named_parameters())
print(json.dumps({
    "difference": float(abs(found - wanted).max()),
    "spread": float(wanted.std()),
    "first": encoder["features.0.0.weight"].requires_grad,
    "second": encoder["features.1.conv.0.0.weight"].requires_grad,
    "norms": any(x.requires_grad for norm in network.norms for x in norm.parameters()),
    "decoder": all(x.requires_grad for x in network.network.decoder.parameters()),
    "scores": list(network.float()(torch.from_numpy(image)).shape),
}))
"""


def test_the_encoder_computes_what_keras_does():
    found = json.loads(run_child(["-c", ENCODER]))
    assert found["spread"] > 0.1
    assert found["difference"] < 1e-9
    assert not found["first"] and found["second"]
    assert not found["norms"] and found["decoder"]
    assert found["scores"] == [2, 5, 96, 128]


PREPARED = """
import numpy as np, torch
from fcn_keras.bench.peers.smp_training import make_loss, prepared, validate
from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.recipes.common.resolving import resolve

rng = np.random.default_rng(0)
label = rng.integers(0, 3, (40, 50, 1)).astype("uint8")
label[:3] = 255

class Split:
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return Example(np.repeat(label, 3, axis=2), label, str(index))
    def size(self, index):
        return 40, 50

images, labels = prepared(np.repeat(label, 3, axis=2)[None], label[None])
assert images.shape == (1, 64, 64, 3) and labels.shape == (1, 64, 64)
assert (labels == 255).sum() == 64 * 64 - 37 * 50
assert (labels[0, -1, -1], labels[0, -4, -1]) == (255, label[3, 0, 0])

# A network that reads the classes off the image but takes one for another is scored so.
def network(images):
    classes = images[..., 0].long() % 3
    return torch.nn.functional.one_hot(torch.where(classes == 2, 1, classes), 3).permute(0, 3, 1, 2)

scores = validate(network, Split(), 2, 3)
ones, twos = (label == 1).sum(), (label == 2).sum()
assert np.allclose(scores["per_class_iu"], [1, ones / (ones + twos), 0])

dataset = Dataset("x", ["a", "b", "c"], [(0, 0, 0)] * 3, {})
logits = torch.from_numpy(rng.standard_normal((1, 3, 64, 64), "float32"))
settings = resolve("light", class_weights="b=3")
counts = np.ones(256, "int64")
found = make_loss("cross_entropy", settings, dataset, counts)(logits, labels)
from fcn_keras import PixelCrossEntropy
weights = {"class_weights": [1.0, 3.0, 1.0]}
wanted = PixelCrossEntropy(**weights)(labels.numpy(), logits.permute(0, 2, 3, 1).numpy())
assert np.allclose(float(found), float(wanted), rtol=1e-5)
both = make_loss("cross_entropy+dice", settings, dataset, counts)(logits, labels)
from fcn_keras import DiceLoss
dice = DiceLoss()(labels.numpy(), logits.permute(0, 2, 3, 1).numpy())
assert np.allclose(float(both - found), float(dice), rtol=1e-4), (both - found, dice)
print("done")
"""


def test_images_scores_and_losses_are_ours():
    assert run_child(["-c", PREPARED]) == "done"


@pytest.mark.slow
def test_a_training(make_folder, tmp_path):
    data = make_folder(tmp_path / "data", train=5, val=2, size=(40, 50))
    told = {
        "method": "deeplabv3plus",
        "run_dir": str(tmp_path),
        "loss": "cross_entropy+dice",
        "settings": {"dataset": str(data), "weights": "none", "epochs": 2, "validate_every": 2},
    }
    process = subprocess.run(
        [sys.executable, "-m", "fcn_keras.bench.peers.smp_training"],
        input=json.dumps(told).encode(),
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    header, first, second = (tmp_path / "log.csv").read_text().splitlines()
    assert header.startswith("epoch,loss,val_loss,pixel_accuracy")
    assert first.split(",")[3] == "" and 0 <= float(second.split(",")[3]) <= 1
    assert set(json.loads((tmp_path / "about.json").read_text())) == {"channels_last"}
