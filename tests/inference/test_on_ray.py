import os
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError
from fcn_keras.inference.predict import predict

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and processes to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CLASSES = ["ground", "cat", "dog"]
COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]  # those of a file that does not lie in a run


@pytest.fixture
def network(tmp_path):
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same")
    model = keras.Model(image, conv(image))
    conv.set_weights([np.random.default_rng(0).normal(0, 1, (3, 3, 3, 3)), np.zeros(3)])
    model.save(tmp_path / "network.keras")
    return model


def write_photos(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(count):
        image = rng.integers(0, 256, (20 + i % 3, 30, 3), dtype="uint8")
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return folder


def label_maps(folder):
    return {
        path.name: Image.open(path).tobytes() for path in folder.iterdir() if path.stem.isdigit()
    }


def workers():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::MapWorker" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def test_workers_do_what_one_process_does(network, tmp_path, run_command):
    photos = write_photos(tmp_path / "photos", 400)
    predict(network, [photos], tmp_path / "alone", CLASSES, COLORS)
    (photos / "broken.png").write_text("no image")
    output = tmp_path / "out"

    killed = []

    def kill_one():
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            time.sleep(0.01)
            if output.is_dir() and len(label_maps(output)) > 5:
                killed.append(workers()[0])
                os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    command = ("predict", tmp_path / "network.keras", photos, "--output", output)
    code, _, err = run_command(*command, "--ray", "local", "--workers", "2")
    killer.join()
    assert killed
    assert (code, err.count("broken.png: cannot be read")) == (2, 1)
    assert "400 of 401 images are done" in err
    assert label_maps(output) == label_maps(tmp_path / "alone")

    (photos / "broken.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    code, out, _ = run_command(*command, "--ray", "local")
    assert (code, out) == (0, f"400 label maps with pictures in {output}\n")
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before


def test_no_cluster(network, tmp_path):
    from fcn_keras.inference.on_ray import predict_on_ray

    photos = write_photos(tmp_path / "photos", 1)
    with pytest.raises(UserError, match="--ray: no cluster can be reached at 'auto'"):
        predict_on_ray(tmp_path / "network.keras", [photos], tmp_path / "out", address="auto")
