import gc
import gzip
import pickle
import subprocess
import sys
import types
import zipfile
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from helpers.caffe_files import write_caffemodel
from helpers.folders import SHARED

from fcn_keras.errors import UserError
from fcn_keras.models.weights.published import SUFFIXES, is_foreign, read_weights

FORMS = ("new", "v1", "v0")

# (shape of the weight, of the bias) by layer, as the files' prototxts give them.
REAL = {
    "lenet_v1": {
        "conv1": [(20, 1, 5, 5), (1, 1, 1, 20)],
        "conv2": [(50, 20, 5, 5), (1, 1, 1, 50)],
        "ip1": [(1, 1, 500, 800), (1, 1, 1, 500)],
        "ip2": [(1, 1, 10, 500), (1, 1, 1, 10)],
    },
    "lenet_v2": {
        "conv1": [(20, 1, 5, 5), (20,)],
        "conv2": [(50, 20, 5, 5), (50,)],
        "ip1": [(500, 800), (500,)],
        "ip2": [(10, 500), (10,)],
    },
    "cifar10_quick_v1": {
        "conv1": [(32, 3, 5, 5), (1, 1, 1, 32)],
        "conv2": [(32, 32, 5, 5), (1, 1, 1, 32)],
        "conv3": [(64, 32, 5, 5), (1, 1, 1, 64)],
        "ip1": [(1, 1, 64, 1024), (1, 1, 1, 64)],
        "ip2": [(1, 1, 10, 64), (1, 1, 1, 10)],
    },
}


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def small_net():
    return {
        "data": ("Data", []),
        "conv1": ("Convolution", [random(2, 3, 2, 1), random(2)]),
        "relu1": ("ReLU", []),
        "ip": ("InnerProduct", [random(3, 7), random(3)]),
        "narrow": ("Convolution", [random(1, 4, 1, 1)]),
    }


def assert_equal(found, expected):
    """Same layers in the same order, same arrays to the bit."""
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        assert len(found[name]) == len(arrays), name
        for blob, array in zip(found[name], arrays, strict=True):
            assert blob.dtype == np.float32 and blob.shape == array.shape
            assert np.asarray(blob).tobytes() == array.tobytes(), name


def refused(path):
    """The message with which a file is refused: one line that begins with its name."""
    with pytest.raises(UserError) as raised:
        read_weights(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


def refused_bytes(tmp_path, content, suffix=".caffemodel"):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    return refused(path)


# Caffe's schema, as far as the tests write it, for Google's own protocol buffers.


def caffe_messages():
    file = descriptor_pb2.FileDescriptorProto(name="caffe_test.proto", package="caffe_test")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, /, **fields):
        proto = file.message_type.add(name=name)
        for field, (number, kind, *more) in fields.items():
            added = proto.field.add(name=field, number=number)
            added.label = kinds.LABEL_REPEATED if "many" in more else kinds.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".caffe_test.{kind}"
            else:
                added.type = kind
            if "packed" in more:
                added.options.packed = True

    message("Shape", dim=(1, kinds.TYPE_INT64, "many", "packed"))
    message("LooseShape", dim=(1, kinds.TYPE_INT64, "many"))
    blob = {
        "num": (1, kinds.TYPE_INT32),
        "channels": (2, kinds.TYPE_INT32),
        "height": (3, kinds.TYPE_INT32),
        "width": (4, kinds.TYPE_INT32),
        "diff": (6, kinds.TYPE_FLOAT, "many", "packed"),
        "double_diff": (9, kinds.TYPE_DOUBLE, "many", "packed"),
    }
    for name, shape, packed in (("Blob", "Shape", ["packed"]), ("LooseBlob", "LooseShape", [])):
        message(
            name,
            **blob,
            data=(5, kinds.TYPE_FLOAT, "many", *packed),
            double_data=(8, kinds.TYPE_DOUBLE, "many", *packed),
            shape=(7, shape),
        )
        message(
            f"{name}Layer",
            name=(1, kinds.TYPE_STRING),
            type=(2, kinds.TYPE_STRING),
            bottom=(3, kinds.TYPE_STRING, "many"),
            loss_weight=(5, kinds.TYPE_FLOAT, "many"),
            blobs=(7, name, "many"),
            phase=(10, kinds.TYPE_INT32),
            strange=(1000, kinds.TYPE_FIXED64),
        )
        message(
            f"{name}V0",
            name=(1, kinds.TYPE_STRING),
            num_output=(3, kinds.TYPE_UINT32),
            blobs=(50, name, "many"),
            blobs_lr=(51, kinds.TYPE_FLOAT, "many"),
        )
        message(
            f"{name}V1",
            layer=(1, f"{name}V0"),
            bottom=(2, kinds.TYPE_STRING, "many"),
            name=(4, kinds.TYPE_STRING),
            type=(5, kinds.TYPE_INT32),
            blobs=(6, name, "many"),
            blobs_lr=(7, kinds.TYPE_FLOAT, "many"),
        )
        message(
            f"{name}Net",
            name=(1, kinds.TYPE_STRING),
            layers=(2, f"{name}V1", "many"),
            input_dim=(4, kinds.TYPE_INT32, "many"),
            force_backward=(5, kinds.TYPE_BOOL),
            layer=(100, f"{name}Layer", "many"),
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        packed: message_factory.GetMessageClass(
            pool.FindMessageTypeByName("caffe_test." + ("BlobNet" if packed else "LooseBlobNet"))
        )
        for packed in (True, False)
    }


NETS = caffe_messages()


def one_blob(packed=True, **fields):
    """The bytes of a net with one layer of one blob."""
    net = NETS[packed]()
    blob = net.layer.add(name="conv").blobs.add()
    for field, value in fields.items():
        if field == "shape":
            blob.shape.dim.extend(value)
        elif isinstance(value, int):
            setattr(blob, field, value)
        else:
            getattr(blob, field).extend(value)
    return net.SerializeToString()


# Files of Caffe.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_forms(tmp_path, form, packed, legacy):
    layers = small_net()
    found = read_weights(
        write_caffemodel(tmp_path / "net.caffemodel", layers, form, packed, legacy)
    )
    four = (lambda a: a.reshape((1,) * (4 - a.ndim) + a.shape)) if legacy else (lambda a: a)
    assert_equal(found, {name: [four(a) for a in arrays] for name, (_, arrays) in layers.items()
                         if arrays})  # fmt: skip


@pytest.mark.parametrize("shape", [(127,), (128, 2), (255, 3), (256,), (2, 16383), (16384,)])
def test_numbers_of_one_and_more_bytes(tmp_path, shape):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(one_blob(data=random(*shape).flat, shape=shape))
    assert_equal(read_weights(path), {"conv": [random(*shape)]})


@pytest.mark.parametrize("packed", [True, False])
def test_files_of_google_protobuf(tmp_path, packed):
    """Everything that is not needed stands between what is: it is skipped."""
    weight, bias, half, old, older = (
        random(*shape) for shape in ((2, 3, 4, 5), (2,), (3, 2), (2, 2, 3, 3), (1, 1, 4, 6))
    )
    net = NETS[packed](name="net", input_dim=[1, 3, 224, 224], force_backward=True)
    net.layer.add(name="data", type="Data", phase=1, strange=2**63)
    layer = net.layer.add(name="conv", type="Convolution", bottom=["data"], loss_weight=[1, 0.5])
    layer.strange = 77
    blob = layer.blobs.add(data=weight.flat, diff=random(7))
    blob.shape.dim.extend(weight.shape)
    layer.blobs.add(data=bias.flat).shape.dim.extend(bias.shape)
    doubles = net.layer.add(name="doubles").blobs.add(double_data=half.flat, double_diff=[1, 2])
    doubles.shape.dim.extend(half.shape)
    v1 = net.layers.add(name="old", type=4, bottom=["conv"], blobs_lr=[1, 2])
    v1.blobs.add(num=2, channels=2, height=3, width=3, data=old.flat)
    v0 = net.layers.add(bottom=["old"])
    v0.layer.name, v0.layer.num_output = "older", 4
    v0.layer.blobs.add(num=1, channels=1, height=4, width=6, data=older.flat)
    v0.layer.blobs_lr.append(1)
    net.layer.add(name="data", phase=0)  # A second one, for the test phase, is usual.
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    expected = {"conv": [weight, bias], "doubles": [half], "old": [old], "older": [older]}
    found = read_weights(path)
    assert_equal({name: found[name] for name in expected}, expected)
    assert len(found) == len(expected)


def test_numbers_in_several_pieces(tmp_path):
    """A message may be continued by another one: the numbers add up, in order."""
    numbers = random(1000)
    net = b""
    for packed, start, end in ((True, 0, 7), (False, 7, 600), (True, 600, 601), (False, 601, 1000)):
        blob = NETS[packed].DESCRIPTOR.fields_by_name["layer"].message_type
        blob = message_factory.GetMessageClass(blob.fields_by_name["blobs"].message_type)
        net += blob(data=numbers[start:end]).SerializeToString()
        # Another field in the midst of the numbers.
        net += blob(diff=[1]).SerializeToString()
    net += blob(num=10, channels=10, height=5, width=2).SerializeToString()
    layer = b"\x0a\x04conv" + b"\x3a" + bytes([len(net) & 127 | 128, len(net) >> 7]) + net
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer) & 127 | 128, len(layer) >> 7]) + layer)
    assert_equal(read_weights(path), {"conv": [numbers.reshape(10, 10, 5, 2)]})


def test_doubles_beyond_float32(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(one_blob(double_data=[1e300, 0.1], shape=[2]))
    assert read_weights(path)["conv"][0].tolist() == [np.inf, np.float32(0.1)]


@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    path = SHARED / "data" / "caffemodels" / f"{name}.caffemodel"
    if not path.is_file():
        pytest.skip("needs the files of ../shared/data/caffemodels")
    found = read_weights(path)
    assert {layer: [blob.shape for blob in blobs] for layer, blobs in found.items()} == REAL[name]
    net = NETS[True].FromString(path.read_bytes())
    expected = {
        layer.name: [
            np.array(blob.data, "float32").reshape(
                tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
            )
            for blob in layer.blobs
        ]
        for layer in [*net.layers, *net.layer]
        if layer.blobs
    }
    assert_equal(found, expected)


@pytest.mark.parametrize("form", FORMS)
def test_arrays_are_views_that_outlive_the_file(tmp_path, form):
    layers = small_net()
    path = write_caffemodel(tmp_path / "net.caffemodel", layers, form)
    weight = read_weights(path)["conv1"][0]
    gc.collect()
    path.unlink()
    assert not weight.flags.owndata and not weight.flags.writeable
    assert weight.tobytes() == layers["conv1"][1][0].tobytes()


def test_unpacked_arrays_are_read_only_too(tmp_path):
    path = write_caffemodel(tmp_path / "net.caffemodel", small_net(), packed=False)
    weight = read_weights(path)["conv1"][0]
    assert not weight.flags.writeable and weight.flags.c_contiguous and weight.flags.aligned


MEASURE = """
import resource, sys
import numpy as np
from fcn_keras.models.weights.published import read_weights

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

start = peak()
blobs = read_weights(sys.argv[1])
read = peak()
for arrays in blobs.values():
    for array in arrays:
        array.sum()
print(read - start, peak() - start, "keras" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize("packed", [True, False])
def test_memory(tmp_path, packed):
    """Packed numbers are not copied; others at most once."""
    layers = {f"fc{i}": ("InnerProduct", [np.ones((1024, 10240), "float32")]) for i in range(5)}
    path = write_caffemodel(tmp_path / "net.caffemodel", layers, packed=packed)
    size = path.stat().st_size / 2**20
    assert size > 199
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    read, used, keras = result.stdout.split()
    if packed:
        assert float(read) < 20
    assert float(used) < (1.1 if packed else 1.9) * size
    assert keras == "False"


# What is no caffemodel.


def test_empty_file(tmp_path):
    assert "is empty" in refused_bytes(tmp_path, b"")


@pytest.mark.parametrize(
    "content",
    [
        b'name: "FCN"\nlayer {\n  name: "data"\n  type: "Data"\n}\n',
        b"\n<!DOCTYPE html>\n<html><body>Not found</body></html>",
        "name: 'Fußgänger' # prototxt".encode(),
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
)
def test_text(tmp_path, content):
    assert "It is text" in refused_bytes(tmp_path, content)


def test_other_formats(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/conv1/0"] = random(3, 3)
    assert "HDF5" in refused_bytes(tmp_path, (tmp_path / "a.h5").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("net.caffemodel", one_blob(data=[1], shape=[1]))
    assert "zip" in refused_bytes(tmp_path, (tmp_path / "a.zip").read_bytes())
    whole = gzip.compress(one_blob(data=[1], shape=[1]))
    assert "gunzip" in refused_bytes(tmp_path, whole)
    assert "no field at byte 0" in refused_bytes(tmp_path, bytes(10_000))


@pytest.mark.parametrize("form", FORMS)
def test_truncated_file(tmp_path, form):
    """Wherever it is cut: between two layers the rest is whole, of everything else it is said."""
    path = write_caffemodel(tmp_path / "net.caffemodel", small_net(), form)
    content = path.read_bytes()
    whole = read_weights(path)
    kept = set()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        try:
            found = read_weights(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: is no whole caffemodel")
        else:
            kept.add(len(found))
            assert_equal(found, {name: whole[name] for name in list(whole)[: len(found)]})
    assert kept == {1, 2}


@pytest.mark.parametrize(
    "fields, reason",
    [
        (dict(data=[1, 2, 3], shape=[2, 2]), "3 numbers.*(2, 2)"),
        (dict(data=[1, 2, 3], num=3, channels=1, height=1), "3 numbers.*(3, 1, 1, 0)"),
        (dict(shape=[2, 2]), "0 numbers.*(2, 2)"),
        (dict(data=[1, 2]), "2 numbers"),
        (dict(), "0 numbers"),
        (dict(shape=[0, 5]), "0 numbers"),
        (dict(data=[1, 2, 3, 4], shape=[-2, -2]), "4 numbers"),
        (dict(data=[1, 2, 3, 4], num=-2, channels=-2, height=1, width=1), "4 numbers"),
        (dict(data=[1], shape=[2**31, 2**31, 2**31]), "1 numbers"),
        (dict(data=[1], shape=[1] * 33), "more than 32 axes"),
        (dict(data=[1, 2], double_data=[1, 2, 3], shape=[2]), "3 numbers"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_numbers_that_are_not_the_shape(tmp_path, fields, reason, packed):
    message = refused_bytes(tmp_path, one_blob(packed, **fields))
    for part in reason.split(".*"):
        assert part in message


def test_legacy_shape_counts_before_the_list(tmp_path):
    """As in Caffe's Blob::FromProto."""
    path = tmp_path / "net.caffemodel"
    blob = dict(data=[1, 2], num=1, channels=1, height=1, width=2, shape=[2])
    path.write_bytes(one_blob(**blob))
    assert read_weights(path)["conv"][0].shape == (1, 1, 1, 2)


def test_block_that_ends_within_a_number(tmp_path):
    blob = b"\x2a\x05" + bytes(5) + b"\x3a\x03\x0a\x01\x01"
    layer = b"\x0a\x04conv\x3a" + bytes([len(blob)]) + blob
    message = refused_bytes(tmp_path, b"\xa2\x06" + bytes([len(layer)]) + layer)
    assert "ends within a number" in message or "end within a number" in message


def test_layer_names(tmp_path):
    net = NETS[True]()
    for _ in range(2):
        net.layer.add(name="conv").blobs.add(data=[1]).shape.dim.append(1)
    assert "'conv'" in refused_bytes(tmp_path, net.SerializeToString())
    for name in ("", "a\nb"):
        net.Clear()
        net.layer.add(name=name).blobs.add(data=[1]).shape.dim.append(1)
        assert "no readable name" in refused_bytes(tmp_path, net.SerializeToString())
    content = one_blob(data=[1], shape=[1]).replace(b"conv", b"\xff\xfe\xfd\xfc")
    assert "no readable name" in refused_bytes(tmp_path, content)


def test_net_without_weights(tmp_path):
    net = NETS[True](name="net", input_dim=[1, 3, 2, 2])
    assert "no layer in it has weights" in refused_bytes(tmp_path, net.SerializeToString())
    net.layer.add(name="relu", type="ReLU")
    assert "no layer in it has weights" in refused_bytes(tmp_path, net.SerializeToString())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_bits(tmp_path, form, packed):
    """A result of no more numbers than the file can hold, or one line."""
    path = write_caffemodel(tmp_path / "net.caffemodel", small_net(), form, packed)
    content = np.frombuffer(path.read_bytes(), "u1")
    rng = np.random.default_rng(0)
    results = {"read": 0, "refused": 0}
    for _ in range(400):
        damaged = content[: rng.choice([content.size, rng.integers(1, content.size)])].copy()
        where = rng.integers(0, damaged.size, rng.integers(1, 4))
        damaged[where] ^= (1 << rng.integers(0, 8, where.size)).astype("u1")
        path.write_bytes(damaged.tobytes())
        try:
            blobs = read_weights(path)
            assert sum(blob.nbytes for blobs in blobs.values() for blob in blobs) <= damaged.size
            results["read"] += 1
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            results["refused"] += 1
    assert min(results.values()) > 10


def test_random_bytes(tmp_path):
    rng = np.random.default_rng(0)
    for size in rng.integers(1, 2000, 300):
        refused_bytes(tmp_path, rng.bytes(size))


# State dicts of PyTorch.


class FakeTensor:
    def __init__(self, array, layout="strided"):
        self.array, self.layout = array, layout

    def detach(self):
        return self

    def to(self, dtype):
        return FakeTensor(self.array.astype(dtype), self.layout)

    def numpy(self):
        if self.layout != "strided":
            raise TypeError("can't convert Sparse layout tensor to numpy")
        return self.array


@pytest.fixture
def fake_torch(monkeypatch):
    """A torch whose `load` returns or raises `torch.content`, and keeps how it was called."""
    torch = types.ModuleType("torch")
    torch.Tensor, torch.float32 = FakeTensor, np.float32
    torch.serialization = types.SimpleNamespace(safe_globals=lambda names: nullcontext())
    torch.calls = []

    def load(path, **options):
        torch.calls.append(options)
        if isinstance(torch.content, Exception):
            raise torch.content
        return torch.content

    torch.load = load
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def state_dict(tensor=FakeTensor):
    """In alphabetical order: a bias before its weight."""
    return {
        "conv1_1.bias": tensor(random(4)),
        "conv1_1.weight": tensor(random(4, 3, 3, 3)),
        "upscore.weight": tensor(random(2, 2, 4, 4).astype("float64")),
    }


STATE = {
    "conv1_1": [random(4, 3, 3, 3), random(4)],
    "upscore": [random(2, 2, 4, 4)],
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar", ".PTH"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_state_dict(tmp_path, fake_torch, suffix, wrapped):
    state = state_dict()
    fake_torch.content = {"epoch": 3, "model_state_dict": state} if wrapped else state
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"PK\x03\x04")
    assert_equal(read_weights(path), STATE)
    path.write_bytes(b"\x80\x02")  # as before torch 1.6: a pickle, which cannot be mapped
    assert_equal(read_weights(path), STATE)
    safe = {"weights_only": True, "map_location": "cpu"}
    assert fake_torch.calls == [safe | {"mmap": True}, safe | {"mmap": False}]


def test_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    message = refused_bytes(tmp_path, b"", ".pth")
    assert message.endswith("pip install torch")


@pytest.mark.parametrize(
    "content, reason",
    [
        (pickle.UnpicklingError("Weights only load failed.\nUnsupported global"), "could run code"),
        (RuntimeError("PytorchStreamReader failed\nin a way"), "whole file of torch.save"),
        (EOFError(), "whole file of torch.save"),
        ([FakeTensor(random(2))], "Received: list"),
        ({"model_state_dict": 3}, "Received: int"),
        ({"conv.weight": 3}, "Received: 'conv.weight', a int"),
        ({3: FakeTensor(random(2))}, "Received: 3"),
        ({"conv.weight": FakeTensor(random(2), "sparse_coo")}, "Received: sparse_coo"),
        ({}, "holds no weights"),
        ({"bn.weight": FakeTensor(random(2)), "bn.running_mean": FakeTensor(random(2))}, "mean'"),
        ({"a.weight": FakeTensor(random(2)), "a": FakeTensor(random(2))}, "Received: 'a'"),
        ({"a.bias": FakeTensor(random(2))}, "Received: 'a.bias'"),
    ],
)
def test_other_torch_files(tmp_path, fake_torch, content, reason):
    fake_torch.content = content
    assert reason in refused_bytes(tmp_path, b"PK\x03\x04", ".pth")


class Code:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_real_torch(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    path = tmp_path / "checkpoint.pth.tar"
    state = state_dict(torch.from_numpy)
    # As pytorch-fcn's trainer saves it: the best score is a NumPy number.
    checkpoint = {"epoch": 1, "best_mean_iu": np.float64(0.5), "model_state_dict": state}
    for content in (state, checkpoint):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        found = read_weights(path)
        assert_equal(found, STATE)
    whole = path.read_bytes()
    for end in (0, 1, len(whole) // 2, len(whole) - 1):
        refused_bytes(tmp_path, whole[:end], ".pth")
    torch.save({"conv.weight": Code()}, path, _use_new_zipfile_serialization=zipped)
    assert "could run code" in refused(path)


# Chainer's archives.


def test_npz(tmp_path):
    path = tmp_path / "net.npz"
    arrays = {key: value.array for key, value in state_dict().items()}
    names = {key.replace(".weight", "/W").replace(".bias", "/b"): key for key in arrays}
    for save in (np.savez, np.savez_compressed):
        save(path, **{name: arrays[key] for name, key in names.items()})
        assert_equal(read_weights(path), STATE)


def test_npz_of_python_2(tmp_path):
    """Its headers hold long integers, of which NumPy warns."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }".ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("conv1/W.npy", content + random(2, 3).tobytes())
    assert_equal(read_weights(path), {"conv1": [random(2, 3)]})


def test_other_npz_files(tmp_path):
    def saved(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return (tmp_path / "a.npz").read_bytes()

    def message(content):
        return refused_bytes(tmp_path, content, ".npz")

    assert "no floating-point numbers" in message(saved(**{"a/W": np.arange(3)}))
    assert "allow_pickle" in message(saved(**{"a/W": np.array([Code()])}))
    assert "Received: 'a/c'" in message(saved(**{"a/W": random(2), "a/c": random(2)}))
    assert "Received: 'a/b'" in message(saved(**{"a/b": random(2)}))
    assert "holds no weights" in message(saved())
    (tmp_path / "a.npy").write_bytes(b"")
    np.save(tmp_path / "a.npy", random(2))
    for content in (b"", b"hello", (tmp_path / "a.npy").read_bytes(), pickle.dumps([1])):
        assert "cannot be read as an .npz of numbers (it is no zip archive)" in message(content)


def test_damaged_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **{"a/W": random(40, 5), "a/b": random(40)})
    content = np.frombuffer((tmp_path / "a.npz").read_bytes(), "u1")
    path = tmp_path / "net.npz"
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(300):
        damaged = content[: content.size - rng.choice([0, 0, 1, 50])].copy()
        damaged[rng.integers(0, damaged.size, 2)] ^= np.uint8(1 << rng.integers(0, 8))
        path.write_bytes(damaged.tobytes())
        try:
            read_weights(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            refusals += 1
    assert refusals > 100


# Names.


def test_names():
    for name in (
        "a.caffemodel",
        "a.pth",
        "a.pt",
        "a.pth.tar",
        "a.npz",
        "A.CAFFEMODEL",
        "/x/a.v2.pt",
    ):
        assert is_foreign(name) and is_foreign(Path(name))
    for name in ("a.keras", "a.h5", "a.weights.h5", "a.tar", "a.prototxt", "pth", "a.npz/x.keras"):
        assert not is_foreign(name)


def test_what_cannot_be_opened(tmp_path):
    for suffix in SUFFIXES:
        assert "is no file" in refused(tmp_path / f"absent{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
        assert "is no file" in refused(tmp_path / f"folder{suffix}")
    message = refused(tmp_path / "net.h5")
    assert all(suffix in message for suffix in SUFFIXES)


def test_path_as_text(tmp_path):
    path = write_caffemodel(tmp_path / "net.caffemodel", small_net())
    assert list(read_weights(str(path))) == ["conv1", "ip", "narrow"]
