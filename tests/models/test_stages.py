"""Networks that start from trained ones: FCN-16s from FCN-32s, FCN-8s from that, late fusion."""

import numpy as np
import pytest
from helpers.networks import outputs_of, photo, scatter_scores, small

from fcn_keras import UserError
from fcn_keras.models.layers import preprocessing_of
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training.initial_network import make_network

WIDTH = 1 / 32
MEAN = (90.0, 100.0, 110.0)


def upsampled(scores, *layers):
    """Scores `(h, w, C)` through bilinear transposed convolutions, given as (kernel, stride)."""
    for kernel, stride in layers:
        half = (kernel + 1) // 2
        centre = half - 1 if kernel % 2 else half - 0.5
        line = 1 - np.abs(np.arange(kernel) - centre) / half
        for axis in (0, 1):
            spread = np.zeros(
                [stride * (n - 1) + 1 if a == axis else n for a, n in enumerate(scores.shape)]
            )
            spread[(slice(None, None, stride),) if axis == 0 else np.s_[:, ::stride]] = scores
            scores = np.apply_along_axis(np.convolve, axis, spread, line)
    return scores


def cropped(scores, offset, size):
    return scores[offset : offset + size[0], offset : offset + size[1]]


def trained(path, variant, num_classes=3, **options):
    model = scatter_scores(small(variant, num_classes, width=WIDTH, **options))
    model.save(path)
    return model


def settings(**values):
    return resolve("voc-fcn32s", weights="none", width=WIDTH, **{"input_mean": None, **values})


def assert_close(found, expected):
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(40, 61), (97, 33)])
def test_fcn16s_starts_as_fcn32s(tmp_path, size, capsys):
    source = trained(tmp_path / "32s.keras", "fcn32s", input_mean=MEAN, input_std=50.0)
    network = make_network(settings(variant="fcn16s", init_from=str(tmp_path / "32s.keras")), 3)
    said = capsys.readouterr().out
    assert "every layer but upscore2, score_pool4, upscore16" in said
    image = photo(*size)
    scores = outputs_of(source, image, "score_fr")["score_fr"][0].astype("float64")
    expected = cropped(upsampled(scores, (4, 2), (32, 16)), 27, size)
    assert_close(np.asarray(network(image))[0], expected)
    # The 32s itself is upsampled by one kernel: not quite the same.
    whole = cropped(upsampled(scores, (64, 32)), 19, size)
    assert_close(np.asarray(source(image))[0], whole)
    assert np.abs(whole - expected).max() > 1e-3


@pytest.mark.parametrize("variant, scale", [("fcn8s", 1), ("fcn8s-atonce", 0.01)])
def test_fcn8s_starts_as_fcn16s(tmp_path, variant, scale):
    source = trained(tmp_path / "16s.keras", "fcn16s", input_mean=MEAN, input_std=50.0)
    network = make_network(settings(variant=variant, init_from=str(tmp_path / "16s.keras")), 3)
    image, size = photo(45, 70), (45, 70)
    maps = outputs_of(source, image, "score_fr", "pool4", "score_pool4")
    coarse = upsampled(maps["score_fr"][0].astype("float64"), (4, 2))
    skip = maps["score_pool4"][0][5:, 5:][: coarse.shape[0], : coarse.shape[1]]
    if scale != 1:  # pool4 is scaled down, and its scores' bias is not
        bias = source.get_layer("score_pool4").get_weights()[1]
        skip = scale * (skip - bias) + bias
    expected = cropped(upsampled(coarse + skip, (4, 2), (16, 8)), 31, size)
    assert_close(np.asarray(network(image))[0], expected)


def test_preprocessing_follows_the_source(tmp_path):
    trained(tmp_path / "net.keras", "fcn32s", input_mean=MEAN, input_std=50.0)
    start = dict(variant="fcn16s", init_from=str(tmp_path / "net.keras"))
    mean, std = preprocessing_of(make_network(settings(**start), 3))
    np.testing.assert_allclose(mean, MEAN)
    assert std == pytest.approx(50)
    given = make_network(settings(**start, input_mean=(1.0, 2.0, 3.0)), 3)
    np.testing.assert_allclose(preprocessing_of(given)[0], (1, 2, 3))


def test_preprocessing_of_published_weights_goes_on_through_all_stages(tmp_path):
    """A source with the mean of published weights and no scale is no random start."""
    trained(tmp_path / "32s.keras", "fcn32s", input_mean=(104, 117, 123), input_std=1.0)
    start = settings(variant="fcn16s", init_from=str(tmp_path / "32s.keras"))
    make_network(start, 3).save(tmp_path / "16s.keras")
    last = make_network(settings(variant="fcn8s", init_from=str(tmp_path / "16s.keras")), 3)
    mean, std = preprocessing_of(last)
    assert tuple(mean) == (104, 117, 123) and std == 1


def test_scores_of_other_classes_start_at_zero(tmp_path, capsys):
    trained(tmp_path / "net.keras", "fcn16s")
    network = make_network(settings(variant="fcn16s", init_from=str(tmp_path / "net.keras")), 5)
    assert "but score_fr, upscore2, score_pool4, upscore16" in capsys.readouterr().out
    assert not np.asarray(network(photo(30, 40))).any()
    assert outputs_of(network, photo(30, 40), "fc7")["fc7"].any()


def test_two_heads(tmp_path):
    heads = {"sem": 3, "geo": 2}
    source = trained(tmp_path / "32s.keras", "fcn32s", heads)
    network = make_network(settings(variant="fcn16s", init_from=str(tmp_path / "32s.keras")), heads)
    image = photo(40, 61)
    found = network(image)
    for head, classes in heads.items():
        scores = outputs_of(source, image, f"score_fr_{head}")[f"score_fr_{head}"][0]
        expected = cropped(upsampled(scores.astype("float64"), (4, 2), (32, 16)), 27, (40, 61))
        assert found[head].shape[-1] == classes
        assert_close(np.asarray(found[head])[0], expected)


def test_dilation_starts_from_what_is_not_dilated(tmp_path):
    trained(tmp_path / "net.keras", "fcn32s")
    start = settings(variant="fcn32s", output_stride=16, init_from=str(tmp_path / "net.keras"))
    network = make_network(start, 3)
    scores = outputs_of(network, photo(40, 61), "score_fr")["score_fr"][0].astype("float64")
    # Cell 0 looks at 12.5, and the kernel of 32 begins 15.5 + 12.5 before the image... at -3.
    assert_close(
        np.asarray(network(photo(40, 61)))[0], cropped(upsampled(scores, (32, 16)), 3, (40, 61))
    )


def test_late_fusion_starts_from_two_networks(tmp_path, capsys):
    color = trained(tmp_path / "color.keras", "fcn32s", input_mean=MEAN, input_std=1.0)
    hha = small("fcn32s-hha", 3, width=WIDTH, input_std=1.0)
    scatter_scores(hha, seed=1).save(tmp_path / "hha.keras")
    paths = f"{tmp_path / 'color.keras'},{tmp_path / 'hha.keras'}"
    network = make_network(settings(variant="fcn32s-color-hha", init_from=paths), 3)
    assert "every layer but upscore" in capsys.readouterr().out
    mean, std = preprocessing_of(network)
    np.testing.assert_allclose(mean, (*MEAN, 132.431, 94.076, 118.477))
    assert std == 1
    image = photo(40, 61, channels=6)
    one = outputs_of(color, image[..., :3], "score_fr")["score_fr"][0].astype("float64")
    two = outputs_of(hha, image[..., 3:], "score_fr")["score_fr"][0].astype("float64")
    expected = cropped(upsampled((one + two) / 2, (64, 32)), 19, (40, 61))
    assert_close(np.asarray(network(image))[0], expected)


@pytest.mark.parametrize(
    "variant, runs, needed",
    [("fcn32s-color-hha", 1, 2), ("fcn32s-color-hha", 3, 2), ("fcn32s", 2, 1)],
)
def test_wrong_number_of_sources(tmp_path, variant, runs, needed):
    trained(tmp_path / "net.keras", "fcn32s")
    start = settings(variant=variant, init_from=",".join([str(tmp_path / "net.keras")] * runs))
    with pytest.raises(UserError, match=f"`init_from` of {variant} must be {needed} runs"):
        make_network(start, 3)


def test_late_fusion_of_networks_that_divide_by_other_numbers(tmp_path):
    trained(tmp_path / "a.keras", "fcn32s", input_std=1.0)
    trained(tmp_path / "b.keras", "fcn32s-hha", input_std=64.0)
    paths = f"{tmp_path / 'a.keras'},{tmp_path / 'b.keras'}"
    with pytest.raises(UserError, match="1.* and 64"):
        make_network(settings(variant="fcn32s-color-hha", init_from=paths), 3)


def test_sources_whose_names_have_commas(tmp_path):
    names = ("net, first.keras", "net, second.keras")
    for name in names:
        trained(tmp_path / name, "fcn32s")
    for variant, paths in (("fcn32s", names[:1]), ("fcn32s-color-hha", names)):
        start = ",".join(str(tmp_path / name) for name in paths)
        assert make_network(settings(variant=variant, init_from=start), 3).count_params()
