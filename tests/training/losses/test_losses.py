"""Each loss beside its formula, written out in NumPy in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import (
    DiceLoss,
    FocalLoss,
    LovaszSoftmax,
    OHEMLoss,
    PixelCrossEntropy,
    SumOfLosses,
)
from fcn_keras.errors import UserError
from fcn_keras.training.losses.names import LOSSES, parse_loss
from fcn_keras.training.losses.sums import make_loss, terms_of

CLASSES, VOID = 5, 255
WEIGHTS = [0.5, 2.0, 1.0, 3.0, 1.5]


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def pixels(labels, logits):
    """The class ids and probabilities of the pixels that count."""
    valid = labels != VOID
    return labels[valid].astype(int), softmax(logits.astype("float64"))[valid]


def logarithms(labels, logits):
    ids, shares = pixels(labels, logits)
    return -np.log(shares[np.arange(len(ids)), ids])


def cross_entropy(labels, logits):
    losses = logarithms(labels, logits)
    return losses.mean() if len(losses) else 0


def smoothed(labels, logits):
    ids, shares = pixels(labels, logits)
    wanted = np.full((len(ids), CLASSES), 0.1 / CLASSES)
    wanted[np.arange(len(ids)), ids] += 0.9
    return -(wanted * np.log(shares)).sum() / max(len(ids), 1)


def focal(labels, logits, weights=None):
    losses = logarithms(labels, logits)
    losses *= (1 - np.exp(-losses)) ** 1.5
    if weights:
        losses *= np.array(weights)[pixels(labels, logits)[0]]
    return losses.sum() / max(len(losses), 1)


def of_images(loss):
    """The mean over the images that have a label."""

    def mean(labels, logits):
        each = [
            loss(*image) for image in zip(labels, logits, strict=True) if (image[0] != VOID).any()
        ]
        return np.mean(each) if each else 0

    return mean


def hardest(labels, logits, weights=None):
    losses = logarithms(labels, logits)
    if weights:
        losses = losses * np.array(weights)[pixels(labels, logits)[0]]
    return np.sort(losses)[::-1][: int(np.ceil(0.3 * len(losses)))].mean()


def lovasz(labels, logits):
    """Pixels become errors one after the other, the worst first: what the loss of IU grows by."""
    ids, shares = pixels(labels, logits)
    losses = []
    for number in np.unique(ids):
        truth = ids == number
        errors = np.abs(truth - shares[:, number])
        loss, wrong, before = 0.0, np.zeros(len(ids), bool), 0.0
        for place in np.argsort(-errors):
            wrong[place] = True
            # The class's pixels without the wrong ones, and with those taken for it.
            after = 1 - (truth & ~wrong).sum() / (truth | wrong).sum()
            loss += errors[place] * (after - before)
            before = after
        losses.append(loss)
    return np.mean(losses)


def dice(labels, logits):
    ids, shares = pixels(labels, logits)
    losses = []
    for number in np.unique(ids):
        truth, found = ids == number, shares[:, number]
        losses.append(1 - 2 * (truth * found).sum() / (truth.sum() + found.sum()))
    return np.mean(losses) if losses else 0


def both(labels, logits):
    return 2 * cross_entropy(labels, logits) + 0.5 * dice(labels, logits)


KINDS = {
    "cross_entropy": (PixelCrossEntropy(), cross_entropy),
    "smoothed": (PixelCrossEntropy(label_smoothing=0.1), smoothed),
    "focal": (FocalLoss(1.5), focal),
    "focal, weighted": (
        FocalLoss(1.5, class_weights=WEIGHTS),
        lambda *batch: focal(*batch, WEIGHTS),
    ),
    "focal of 0": (FocalLoss(0), cross_entropy),
    "ohem": (OHEMLoss(0.3), of_images(hardest)),
    "ohem, weighted": (
        OHEMLoss(0.3, class_weights=WEIGHTS),
        of_images(lambda *image: hardest(*image, WEIGHTS)),
    ),
    "lovasz": (LovaszSoftmax(), of_images(lovasz)),
    "dice": (DiceLoss(), dice),
    "sum": (make_loss("2*cross_entropy + 0.5*dice"), both),
}


def batch(kind):
    """Labels and logits of two images, of 4x3 pixels."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, (2, 4, 3)).astype("uint8")  # the last class is absent
    if kind == "with void":
        labels[0, :2] = VOID
        labels[1, 1, 1] = VOID
    elif kind == "one class":
        labels[:] = 2
    elif kind == "an image of void":
        labels[1] = VOID
    elif kind == "a pixel":
        labels[:] = VOID
        labels[1, 0, 2] = 1
    elif kind == "all void":
        labels[:] = VOID
    return labels, 2 * rng.standard_normal((*labels.shape, CLASSES)).astype("float32")


BATCHES = ("plain", "with void", "one class", "an image of void", "a pixel", "all void")


@pytest.mark.parametrize("content", BATCHES)
@pytest.mark.parametrize(("loss", "formula"), KINDS.values(), ids=KINDS)
def test_formulas_and_their_slopes(loss, formula, content):
    labels, logits = batch(content)
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        found = loss(labels, variable)
    assert float(found) == pytest.approx(formula(labels, logits), rel=1e-5, abs=1e-7)
    slopes = np.zeros(logits.shape)
    logits = logits.astype("float64")
    for place in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-6
        slopes[place] = (formula(labels, logits + step) - formula(labels, logits - step)) / 2e-6
    gradient = tape.gradient(found, variable)
    np.testing.assert_allclose(gradient, slopes, rtol=0, atol=1e-4 * max(1e-2, slopes.max()))
    assert not np.asarray(gradient)[labels == VOID].any()
    # Summed as training does it, and divided by what it counts.
    if not isinstance(loss, (DiceLoss, SumOfLosses)):
        losses, _ = loss.losses(labels, logits.astype("float32"))
        count = max(float(loss.count(labels)), 1)
        assert float(tf.reduce_sum(losses)) / count == pytest.approx(float(found), rel=1e-6)


def test_sure_networks_have_the_scores_of_their_classes():
    """Lovasz is one minus the mean IU of an image's classes, Dice one minus their mean F1."""
    rng = np.random.default_rng(0)
    labels, ids = rng.integers(0, CLASSES, (2, 1, 9, 9))
    logits = 200 * np.eye(CLASSES, dtype="float32")[ids]
    ius, dices = [], []
    for number in range(CLASSES):
        truth, found = labels == number, ids == number
        ius.append((truth & found).sum() / (truth | found).sum())
        dices.append(2 * (truth & found).sum() / (truth.sum() + found.sum()))
    assert float(LovaszSoftmax()(labels, logits)) == pytest.approx(1 - np.mean(ius), rel=1e-5)
    assert float(DiceLoss()(labels, logits)) == pytest.approx(1 - np.mean(dices), rel=1e-5)


@pytest.mark.parametrize(("loss", "formula"), KINDS.values(), ids=KINDS)
def test_sample_weights(loss, formula):
    """Ones change nothing; of an image that weighs nothing, nothing counts."""
    labels, logits = batch("with void")
    whole = float(loss(labels, logits))
    assert float(loss(labels, logits, sample_weight=np.ones(2))) == pytest.approx(whole, rel=1e-6)
    other = logits.copy()
    other[1] = 7 - other[1]
    found = [float(loss(labels, each, sample_weight=[1.0, 0.0])) for each in (logits, other)]
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0] > 0
    weights = np.ones(labels.shape)
    if isinstance(loss, (OHEMLoss, LovaszSoftmax)):
        with pytest.raises(UserError, match="one weight for each image.*Received: shape"):
            loss(labels, logits, sample_weight=weights)
    else:
        assert float(loss(labels, logits, sample_weight=weights)) == pytest.approx(whole, rel=1e-6)


def test_dice_counts_pixels_as_often_as_they_weigh():
    labels, logits = batch("with void")
    weights = np.random.default_rng(1).integers(0, 3, labels.shape)
    often = [np.repeat(each.reshape(24, -1), weights.ravel(), axis=0) for each in (labels, logits)]
    expected = dice(often[0].reshape(1, -1), often[1][None])
    found = DiceLoss()(labels, logits, sample_weight=weights)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("loss", "formula"), KINDS.values(), ids=KINDS)
def test_masked_pixels_are_void(loss, formula):
    labels, logits = batch("plain")
    mask = np.random.default_rng(4).random(labels.shape) < 0.5
    masked = keras.ops.convert_to_tensor(logits)
    masked._keras_mask = keras.ops.convert_to_tensor(mask)
    expected = formula(np.where(mask, labels, VOID), logits)
    assert float(loss(labels, masked)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["ohem, weighted", "sum"])
def test_compiled_networks_keep_their_loss(kind, tmp_path):
    """Also through `fit`, and as a function of free sizes."""
    loss, formula = KINDS[kind]
    images = np.random.default_rng(0).random((4, 6, 5, 3)).astype("float32")
    labels = np.argmax(images, axis=-1).astype("uint8")
    labels[0, :3] = VOID
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(CLASSES, 1)])
    model.compile(keras.optimizers.Adam(0.1), loss)
    before = model.evaluate(images, labels, verbose=0)
    assert before == pytest.approx(formula(labels, np.asarray(model(images))), rel=1e-5)
    model.fit(images, labels[..., None], epochs=8, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    after = model.evaluate(images, labels, verbose=0)
    assert again.evaluate(images, labels, verbose=0) == after < before
    assert again.loss.get_config() == loss.get_config()


@pytest.mark.parametrize(("loss", "formula"), KINDS.values(), ids=KINDS)
def test_narrow_and_large_logits(loss, formula):
    labels, logits = batch("with void")
    narrow = tf.cast(logits, "bfloat16")
    expected = formula(labels, tf.cast(narrow, "float32").numpy())
    assert float(loss(labels, narrow)) == pytest.approx(expected, rel=1e-5)
    variable = tf.Variable(1e4 * logits)
    with tf.GradientTape() as tape:
        value = loss(labels, variable)
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, variable)).all()


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("cross_entropy", {"cross_entropy": 1.0}),
        ("cross_entropy+0.5*dice", {"cross_entropy": 1.0, "dice": 0.5}),
        (" 2 * lovasz + 1e-1*focal ", {"lovasz": 2.0, "focal": 0.1}),
    ],
)
def test_losses_by_their_names(text, factors):
    assert parse_loss(text) == factors
    loss = make_loss(text)
    assert [factor for factor, _ in terms_of(loss)] == [*factors.values()]


def test_every_name_is_a_loss():
    labels, logits = batch("with void")
    kinds = (PixelCrossEntropy, DiceLoss, FocalLoss, LovaszSoftmax, OHEMLoss)
    for name, kind in zip(LOSSES, kinds, strict=True):
        loss = make_loss(name)
        assert type(loss) is kind
        assert float(make_loss(f"3*{name}")(labels, logits)) == pytest.approx(
            3 * float(loss(labels, logits)), rel=1e-6
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dices",
        "dice+dice",
        "0*dice",
        "-1*dice",
        "nan*dice",
        "inf*dice",
        "dice*2",
        "dice+",
        "x*dice",
    ],
)
def test_no_loss(text):
    with pytest.raises(UserError, match="`loss` must be one or several of cross_entropy, dice"):
        parse_loss(text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OHEMLoss(0), "`share` must be above 0.*Received: 0"),
        (lambda: OHEMLoss(1.5), "`share`.*at most 1.*1.5"),
        (lambda: FocalLoss(-1), "`gamma` must be a finite number from 0 up.*-1"),
        (lambda: FocalLoss(float("nan")), "`gamma`.*nan"),
        (lambda: PixelCrossEntropy(label_smoothing=1), "`label_smoothing`.*below 1.*1"),
        (lambda: SumOfLosses([]), "`losses` must be losses of fcn_keras"),
        (lambda: SumOfLosses([keras.losses.Dice()]), "`losses` must be losses of fcn_keras"),
        (lambda: SumOfLosses([DiceLoss()], [1, 2]), "`factors` must be 1 numbers"),
        (lambda: SumOfLosses([DiceLoss()], [0]), "`factors` must be 1 numbers above 0"),
        (lambda: DiceLoss("void"), "`ignore_label` must be a whole number"),
        (
            lambda: OHEMLoss(class_weights=[1.0])(*batch("plain")),
            "`class_weights` must be 5 numbers.*Received: 1",
        ),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(UserError, match=message):
        make()
