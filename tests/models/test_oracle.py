"""The networks give what OpenCV makes of Caffe's definitions and files.

Both sides read one `.caffemodel`. Nothing but that file and the image goes from one to the other:
OpenCV takes layers, paddings and crop offsets from the prototxt of `caffe_nets.py`.
"""

import numpy as np
import pytest
from helpers.caffe_files import write_caffemodel
from helpers.caffe_nets import NETS, WITH_DEPTH, opencv_scores, random_blobs, run_opencv

from fcn_keras import build

pytest.importorskip("cv2", reason="the oracle is OpenCV: pip install -e '.[test]'")

CLASSES, SEED = 5, 1
WIDTHS = {variant: 1 / 8 if variant == "fcn-alexnet" else 1 / 16 for variant in NETS}

FIXED_SIZES = [(1, 1), (2, 3), (31, 33), (64, 64), (97, 130), (200, 151)]
DRAWN_SIZES = [tuple(size) for size in np.random.RandomState(0).randint(1, 221, (10, 2)).tolist()]

TOLERANCE = 1e-5  # of the largest score; measured: less than 1e-6


def noise(height, width):
    return np.random.RandomState(2).randint(0, 256, (height, width, 3)).astype("uint8")


def scores_of(model, image):
    return np.asarray(model(image[None]))[0]


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs).max()
    assert error <= TOLERANCE * np.abs(theirs).max()
    # Two classes that lie closer together than the two errors are a tie, which either may win.
    # Nowhere else may the winner differ, and ties are rare.
    winner = ours.argmax(-1)
    behind = theirs.max(-1) - np.take_along_axis(theirs, winner[..., None], -1)[..., 0]
    assert behind.max() <= 2 * error
    assert np.mean(winner != theirs.argmax(-1)) <= 1e-4


@pytest.fixture(scope="module", params=NETS)
def network(request, tmp_path_factory):
    """A variant, the file of its random weights, and our network that was built from it."""
    variant = request.param
    path = tmp_path_factory.mktemp("caffe") / f"{variant}.caffemodel"
    write_caffemodel(path, random_blobs(variant, CLASSES, WIDTHS[variant], SEED))
    return variant, path, build(variant, CLASSES, weights=path, width=WIDTHS[variant])


@pytest.mark.parametrize("size", [*FIXED_SIZES, *DRAWN_SIZES], ids=lambda s: f"{s[0]}x{s[1]}")
def test_scores_are_caffes(network, size):
    variant, path, model = network
    image = noise(*size)
    theirs = opencv_scores(variant, CLASSES, WIDTHS[variant], path, image)
    assert_same(scores_of(model, image), theirs)


@pytest.mark.parametrize(
    "form",
    [{"form": "v1"}, {"form": "v1", "packed": False}, {"form": "new", "legacy": True}],
    ids=["v1", "v1-unpacked", "new-legacy"],
)
# Caffe's V1 format has no Scale layers.
@pytest.mark.parametrize("network", [v for v in NETS if v != "fcn8s-atonce"], indirect=True)
def test_old_files_hold_the_same_network(network, form, tmp_path):
    variant, path, model = network
    old = tmp_path / "old.caffemodel"
    write_caffemodel(old, random_blobs(variant, CLASSES, WIDTHS[variant], SEED), **form)
    assert old.read_bytes() != path.read_bytes()
    image = noise(31, 33)
    theirs = opencv_scores(variant, CLASSES, WIDTHS[variant], old, image)
    ours = build(variant, CLASSES, weights=old, width=WIDTHS[variant])
    assert_same(scores_of(ours, image), theirs)
    for ours_old, ours_new in zip(ours.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours_old, ours_new)


@pytest.mark.parametrize("size", FIXED_SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_colours_and_depth(size, tmp_path):
    [variant] = WITH_DEPTH
    path = tmp_path / "net.caffemodel"
    write_caffemodel(path, random_blobs(variant, CLASSES, 1 / 16, SEED))
    depth = np.exp(np.random.RandomState(4).uniform(0, np.log(65535), (*size, 1)))
    image = np.concatenate([noise(*size), depth], axis=-1).astype("uint16")
    theirs = opencv_scores(variant, CLASSES, 1 / 16, path, image)
    assert_same(scores_of(build(variant, CLASSES, weights=path, width=1 / 16), image), theirs)


@pytest.mark.slow
def test_full_width(tmp_path):
    path = tmp_path / "fcn8s.caffemodel"
    write_caffemodel(path, random_blobs("fcn8s", 21, 1, SEED))
    image = noise(64, 80)
    theirs = opencv_scores("fcn8s", 21, 1, path, image)
    assert_same(scores_of(build("fcn8s", 21, weights=path), image), theirs)
    path.unlink()  # 540 MB, which pytest would keep for a while


# What the oracle itself rests on: OpenCV's layers, where they could differ from Caffe's, against
# the formulas of Caffe's sources.


def run_layer(tmp_path, param, data, blobs=()):
    kind = param.split('"')[1]
    model = tmp_path / "layer.caffemodel"
    write_caffemodel(model, {"it": (kind, list(blobs))})
    prototxt = 'layer { name: "data" type: "Input" top: "data" input_param { shape {'
    prototxt += "".join(f" dim: {n}" for n in data.shape) + " } } }\n"
    prototxt += f'layer {{ name: "it" bottom: "data" top: "it" {param} }}\n'
    return run_opencv(prototxt, model, data)[0]


def normal(*shape):
    return np.random.RandomState(3).normal(0, 1, shape).astype("float32")


def test_opencv_normalises_responses_as_caffe_does(tmp_path):
    data = 150 * normal(1, 7, 3, 4)
    param = 'type: "LRN" lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }'
    expected = [
        data[0, c] / (1 + 1e-4 / 5 * (data[0, max(0, c - 2) : c + 3] ** 2).sum(0)) ** 0.75
        for c in range(7)
    ]
    np.testing.assert_allclose(run_layer(tmp_path, param, data), expected, rtol=1e-5)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_opencv_pools_as_caffe_does(kernel, size, tmp_path):
    data = normal(1, 2, size, size + 1) - 10  # below zero: no zero may win at the edge
    param = f'type: "Pooling" pooling_param {{ pool: MAX kernel_size: {kernel} stride: 2 }}'
    rows, columns = (-(-(n - kernel) // 2) + 1 for n in data.shape[2:])
    expected = [
        [
            [part[2 * i : 2 * i + kernel, 2 * j : 2 * j + kernel].max() for j in range(columns)]
            for i in range(rows)
        ]
        for part in data[0]
    ]
    np.testing.assert_array_equal(run_layer(tmp_path, param, data), expected)


@pytest.mark.parametrize("kernel, stride", [(4, 2), (63, 32)])
def test_opencv_deconvolves_as_caffe_does(kernel, stride, tmp_path):
    data, weight = normal(1, 3, 2, 4), normal(3, 3, kernel, kernel)
    param = 'type: "Deconvolution" convolution_param { num_output: 3 bias_term: false '
    param += f"kernel_size: {kernel} stride: {stride} }}"
    expected = np.zeros((3, stride + kernel, 3 * stride + kernel))
    for i in range(2):
        for j in range(4):
            top, left = stride * i, stride * j
            # A cell leaves its kernels, times its numbers: blob axis 0 counts the inputs.
            expected[:, top : top + kernel, left : left + kernel] += np.tensordot(
                data[0, :, i, j], weight, 1
            )
    np.testing.assert_allclose(run_layer(tmp_path, param, data, [weight]), expected, atol=1e-5)


def test_opencv_convolves_in_groups_as_caffe_does(tmp_path):
    data, weight, bias = normal(1, 6, 3, 3), normal(4, 3, 3, 3), normal(4)
    param = 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 group: 2 }'
    expected = [
        np.sum(data[0, 3 * (o // 2) : 3 * (o // 2) + 3] * weight[o]) + bias[o] for o in range(4)
    ]
    scores = run_layer(tmp_path, param, data, [weight, bias])
    np.testing.assert_allclose(scores.ravel(), expected, rtol=1e-5)
