import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fcn_keras.bench import forward, report
from fcn_keras.bench.forward import MeasuredPeer, bench_forward, draw, results, table
from fcn_keras.bench.peers.loaders import LOADERS
from fcn_keras.bench.peers.network import Forward, fcn_layers
from fcn_keras.bench.peers.programs import CEILINGS, PEERS, default_peers
from fcn_keras.bench.start import PARTS, PREDICTS
from fcn_keras.bench.steps import MeasuredStep, Step, peers_to_compare
from fcn_keras.errors import UserError
from fcn_keras.models.fcn import build
from fcn_keras.models.layers import preprocessing_of

TINY = ("--width", "0.03125", "--size", "33x40")
SMALL = Forward(width=0.03125, size=(33, 40), num_classes=5, matrix=128)


@pytest.mark.parametrize("variant", ("fcn32s", "fcn16s", "fcn8s"))
@pytest.mark.parametrize("geometry", ("paper", "same"))
def test_usual_keras_is_the_same_function(variant, geometry):
    """Layers by a list, and crops by slices, against the package's network."""
    from fcn_keras.bench.peers.usual_keras import set_weights, usual_keras

    size = (37, 53)
    ours = build(variant, 4, weights=None, width=0.03125, geometry=geometry)
    rng = np.random.default_rng(0)
    for layer in ours.layers:
        if layer.name.startswith("score_"):
            layer.kernel.assign(rng.standard_normal(layer.kernel.shape))
    weights = {f"{layer.name}.{v.name}": v.numpy() for layer in ours.layers for v in layer.weights}
    mean, std = preprocessing_of(ours)
    usual = usual_keras(variant, 4, size, 0.03125, geometry, mean, std)
    set_weights(usual, weights)
    image = rng.integers(0, 256, (2, *size, 3), "uint8")
    expected = ours(image).numpy()
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(usual(image), expected, atol=1e-4 * np.abs(expected).max())


def test_crops_of_the_reference():
    """The offsets in the reference's prototxt files."""
    offsets = {
        variant: [step.crop or step.crop_skip for step in fcn_layers(variant)[1]]
        for variant in ("fcn32s", "fcn16s", "fcn8s")
    }
    assert offsets == {"fcn32s": [19], "fcn16s": [5, 27], "fcn8s": [5, 9, 31]}


def test_peers_know_three_networks():
    with pytest.raises(UserError, match="fcn32s, fcn16s, fcn8s to be compared"):
        Forward(variant="fcn-alexnet")


@pytest.mark.slow
def test_programs_agree(tmp_path):
    """Each in a process of its own; none but ours may be missing."""
    peers = ["usual_keras", "opencv", "torch_channels_last", "onnxruntime"]
    peers += ["ours_bfloat16", "ours_plain"]
    rows = bench_forward(SMALL, peers, rounds=2, folder=tmp_path)
    rows = {row.name: row for row in rows}
    assert set(rows) == {*peers, "ours", *CEILINGS}
    for name, row in rows.items():
        if "not installed" in row.error or name == "opencv" and "onnx" in row.error:
            continue
        assert not row.error
        assert [*row.seconds] == [*row.cpu_seconds] == [1, 2]
        assert all(seconds > 0 for seconds in row.seconds.values())
        if PEERS[name].elided is None:
            assert row.labels is None
        else:
            assert row.labels >= (0.9 if PEERS[name].precision == "bfloat16" else 0.9999)
    # What is compared has more than one label.
    assert len(np.unique(np.load(tmp_path / "ours.npy"))) > 1
    # A second call finds the files that the first one wrote.
    written = (tmp_path / "network.keras").stat().st_mtime_ns
    bench_forward(SMALL, ["keras"], rounds=1, folder=tmp_path)
    assert (tmp_path / "network.keras").stat().st_mtime_ns == written


def test_every_peer_has_a_loader():
    assert LOADERS.keys() == PEERS.keys()


def test_folder_of_another_network(tmp_path):
    (tmp_path / "asked.json").write_text(json.dumps({"variant": "fcn32s"}))
    with pytest.raises(UserError, match="--folder: holds the files of another network"):
        bench_forward(SMALL, ["keras"], folder=tmp_path)


def made_up(name, seconds):
    resident = 2 * SMALL.cost(True).parameter_bytes()
    figures = {"load_seconds": 1.0, "first_seconds": 2.0}
    figures |= {"resident_bytes": resident, "peak_bytes": 1}
    by_round = dict(enumerate(seconds, start=1))
    labels = None if PEERS[name].elided is None else 1.0
    return MeasuredPeer(name, by_round, by_round, figures, labels)


@pytest.fixture
def rows():
    return [
        made_up("ours", [1.0, 2.0, 9.0]),
        made_up("ours_bfloat16", [4.0, 4.0, 4.0]),
        made_up("product", [0.5, 0.5, 0.5]),
        made_up("product_numpy", [0.25, 0.25, 0.75]),
        made_up("copy", [0.5, 0.5, 0.5]),
        made_up("torch", [2.0, 8.0, 18.0]),
        made_up("openvino_bfloat16", [2.0, 2.0, 2.0]),
        MeasuredPeer("opencv", error="no such layer"),
    ]


def test_ratios_are_of_one_round(rows):
    """The machine was slower in the third round, for both."""
    found = {row["name"]: row for row in results(SMALL, rows)["rows"]}
    assert found["torch"]["ratio"] == 0.5  # of 1/2, 2/8 and 9/18
    assert found["ours"]["ratio"] == 1
    assert found["openvino_bfloat16"]["ratio"] == 2  # beside ours in bfloat16
    assert found["opencv"]["error"] == "no such layer"


def test_shares_of_the_ceiling(rows):
    found = results(SMALL, rows)
    by_name = {row["name"]: row for row in found["rows"]}
    elided, plain = (SMALL.cost(elided).forward_flops for elided in (True, False))
    assert elided < plain
    assert found["flops"] == {"elided": elided, "plain": plain}
    # The better one of two products, in the same round.
    ceilings = [2 * 128**3 / seconds for seconds in (0.25, 0.25, 0.5)]
    assert by_name["product_numpy"]["flops_per_second"] == ceilings[0]
    assert by_name["ours"]["share"] == pytest.approx(elided / 2.0 / ceilings[1])
    assert by_name["torch"]["share"] == pytest.approx(plain / 8.0 / ceilings[1])
    assert by_name["ours_bfloat16"]["share"] is None  # no product in bfloat16 here
    assert by_name["copy"]["bytes_per_second"] == 4 * 4 * 128**2 / 0.5


def test_table_and_figure(rows, tmp_path):
    found = results(SMALL, rows)
    head, rule, ours, *_, opencv = table(found).splitlines()
    assert head.count("|") == rule.count("|") == ours.count("|") == opencv.count("|")
    cells = [cell.strip() for cell in ours.split("|")[1:-1]]
    assert cells[:5] == ["fcn_keras, SavedModel in C++", "2.000", "1.00", "2.00", "1.0"]
    assert cells[6] == "2.0" and cells[9] == "100.000%"
    assert "not measured: no such layer" in opencv
    draw(found, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.slow
def test_memory_decides_how_many_are_alive(monkeypatch, tmp_path):
    """Each runs in every round of its own group, and ours in those of all."""
    monkeypatch.setattr(forward, "free_memory", lambda: 0)
    monkeypatch.setattr(forward, "CEILINGS", ())
    rows = bench_forward(SMALL, ["keras", "usual_keras"], 1, tmp_path)
    rounds = {row.name: [*row.seconds] for row in rows}
    assert rounds == {"ours": [1, 2], "keras": [1], "usual_keras": [2]}


def test_wrong_peer(run_command):
    code, out, err = run_command("bench", "forward", *TINY, "--peers", "caffe")
    assert (code, out) == (2, "")
    assert "--peers: must be some of ours, " in err and "'caffe'" in err


def test_peers_that_run_the_papers_network_alone(run_command):
    options = ("--backbone", "mobilenet_v2", "--peers", "torch")
    code, out, err = run_command("bench", "forward", *TINY, *options)
    assert (code, out) == (2, "")
    assert "--peers: torch runs the paper's network alone, on vgg16." in err
    others = default_peers("mobilenet_v2")
    assert {"keras", "onnxruntime", "openvino", "litert"} < {*others} and "torch" not in others


@pytest.mark.slow
def test_other_backbones(monkeypatch, tmp_path):
    monkeypatch.setattr(forward, "CEILINGS", ())
    network = Forward(size=(64, 75), num_classes=5, width=0.35, backbone="mobilenet_v2")
    peers = ["keras", "onnxruntime", "openvino", "litert"]
    for row in bench_forward(network, peers, rounds=1, folder=tmp_path):
        assert "not installed" in row.error or row.labels >= 0.999
    assert len(np.unique(np.load(tmp_path / "ours.npy"))) > 1


@pytest.mark.slow
def test_program_that_fails_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(forward, "CEILINGS", ())
    (tmp_path / "usual.onnx").write_bytes(b"no network")
    [ours, opencv] = bench_forward(SMALL, ["opencv"], 1, tmp_path)
    assert not ours.error
    assert "onnx" in opencv.error.lower()


@pytest.mark.slow
def test_start(run_command):
    code, out, err = run_command("bench", "start", *TINY, "--rounds", 1, "--json")
    assert code == 0, err
    found = json.loads(out)
    for name in PREDICTS:
        parts = [found[f"{name}.{part}"] for part in PARTS]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(found[name])
        assert 0 < found[f"{name}.outside"] < 1
    assert found["help"] < found["tensorflow"]
    # They do without TensorFlow's Python.
    assert max(found["predict_exported"], found["predict"]) < found["predict_first"]


@pytest.mark.slow
def test_training_step_beside_others(run_command):
    options = ("--peers", "--rounds", 1, "--steps", 1, "--json")
    code, out, err = run_command("bench", "train", *TINY, *options)
    assert code == 0, err
    ours, keras, *torch = json.loads(out)["rows"]
    assert ours["step"]["peer"] is None
    assert keras["name"] == "Keras, the usual way, float32, batch 1"
    assert keras["seconds"] > 0 and keras["process_bytes"] > 0
    assert [row["name"] for row in torch] == [
        "PyTorch, float32, batch 1",
        "PyTorch, channels last, float32, batch 1",
    ]
    for row in torch:
        assert "No module named 'torch'" in row.get("error", "") or row["seconds"] > 0


def test_peers_take_no_settings(run_command):
    code, out, err = run_command("bench", "train", "--peers", "--remat")
    assert (code, out) == (2, "")
    assert "--peers: cannot be given together with settings." in err


@pytest.mark.filterwarnings("ignore:CUDA initialization")  # a build for GPUs, without one
def test_torch_is_the_same_function():
    """And its gradients are those of Keras, for one step on one image."""
    torch = pytest.importorskip("torch")
    import keras
    import tensorflow as tf

    from fcn_keras.bench.peers import usual_keras, usual_torch

    size = (33, 40)
    ours = usual_keras.usual_keras("fcn8s", 4, size, 0.03125, std=64.0)
    rng = np.random.default_rng(0)
    for layer in ours.layers:
        if layer.name.startswith("score_"):
            layer.kernel.assign(rng.standard_normal(layer.kernel.shape))
    weights = {f"{layer.name}.{v.name}": v.numpy() for layer in ours.layers for v in layer.weights}
    other = usual_torch.FCN("fcn8s", 4, 0.03125, std=64.0).eval()
    usual_torch.set_weights(other, weights)
    image = rng.integers(0, 256, (1, *size, 3), "uint8")
    labels = rng.integers(0, 4, (1, *size))
    with tf.GradientTape() as tape:
        scores = ours(image)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, scores)
    kernel = ours.get_layer("conv2_1").kernel
    gradient = tape.gradient(loss, kernel.value).numpy()
    found = other(torch.from_numpy(image))
    torch.nn.functional.cross_entropy(found, torch.from_numpy(labels)).backward()
    scores, found = scores.numpy(), found.detach().permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, scores, atol=1e-4 * np.abs(scores).max())
    found = other.conv2_1.weight.grad.permute(2, 3, 1, 0).numpy()
    np.testing.assert_allclose(found, gradient, atol=1e-4 * np.abs(gradient).max())


@pytest.fixture
def measured(monkeypatch, rows):
    """Stands for what takes long."""
    ours, keras, *_ = peers_to_compare(Step())

    def made_up_step(step, seconds, mib):
        times = {"seconds": [seconds], "cpu_seconds": [seconds]}
        memory = {"process_bytes": [mib << 20], "step_bytes": [1 << 20], "tensor_bytes": []}
        return MeasuredStep(step, times | memory)

    steps = [made_up_step(ours, 1.0, 1), made_up_step(keras, 4.0, 2)]
    start = dict.fromkeys(("help", "import", "tensorflow", *PREDICTS), 1.0)
    for name in PREDICTS:
        start |= {f"{name}.{part}": 0.25 for part in PARTS}
    monkeypatch.setattr(report, "bench_forward", lambda *_: rows)
    monkeypatch.setattr(report, "bench_training", lambda *_: steps)
    monkeypatch.setattr(report, "bench_start", lambda *_: start)
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0.5, 0.5))


def test_report(run_command, measured, tmp_path):
    path = tmp_path / "speed.md"
    code, out, err = run_command("bench", "report", path, *TINY)
    assert code == 0, err
    text = path.read_text()
    assert "| PyTorch | 8.000 | 0.50 |" in text
    assert "| Keras, the usual way, float32, batch 1 | 4.00 | 0.25 |" in text
    assert "| - loading the network | 0.25 | 25% |" in text
    assert "bench report" in text
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found["forward"]["rows"][0]["name"] == "ours"
    assert found["versions"]["opencv-python-headless"]
    assert (tmp_path / "speed.png").exists()

    # Only the tables of a document change.
    path.write_text(text.replace("0.50", "7.77").replace("# Performance", "# Ours"))
    assert run_command("bench", "report", path, *TINY)[0] == 0
    assert path.read_text() == text.replace("# Performance", "# Ours")


def test_report_keeps_what_was_written_meanwhile(run_command, measured, tmp_path, monkeypatch):
    path = tmp_path / "speed.md"
    assert run_command("bench", "report", path, *TINY)[0] == 0
    measure = report.bench_start

    def measure_slowly(*args):
        path.write_text(path.read_text().replace("# Performance", "# Ours"))
        return measure(*args)

    monkeypatch.setattr(report, "bench_start", measure_slowly)
    assert run_command("bench", "report", path, *TINY)[0] == 0
    assert path.read_text().startswith("# Ours")


def test_report_needs_places(run_command, measured, tmp_path):
    path = tmp_path / "speed.md"
    path.write_text("# Speed\n")
    code, _, err = run_command("bench", "report", path)
    assert code == 2 and "has no lines <!-- bench machine -->" in err
    code, _, err = run_command("bench", "report", tmp_path / "speed.txt")
    assert code == 2 and "must end in .md" in err
    assert {file.name for file in tmp_path.iterdir()} == {"speed.md"}


@pytest.mark.slow
def test_graphics_processor_script_on_this_processor():
    script = Path(__file__).parents[2] / "benchmarks/gpu.py"
    command = [sys.executable, str(script), "--device", "cpu", "--size", "32"]
    command += ["--width", "0.03125", "--batch", "1", "--matrix", "64", "--rounds", "1"]
    command += ["--times", "1", "--programs", "tensorflow"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not measured") == 0
    assert done.stdout.count("tensorflow ") == 4
