import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_keras import (
    FrequencyWeightedIU,
    MeanAccuracy,
    MeanIU,
    PixelAccuracy,
    PixelCrossEntropy,
    SegmentationScores,
)
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.evaluation.scores import SCORES, scores_of

VOID = 255

ONE_SCORE = {
    "pixel_accuracy": PixelAccuracy,
    "mean_accuracy": MeanAccuracy,
    "mean_iu": MeanIU,
    "frequency_weighted_iu": FrequencyWeightedIU,
}

# FCN-8s of the reference on image 2007_000129: background, bicycle and person, as published with
# its demo, and the scores that follow from it.
DEMO_CONFUSION = [[52692, 1398, 299], [4618, 28404, 1161], [8782, 7320, 45041]]
DEMO_SCORES = {
    "pixel_accuracy": 0.84251,
    "mean_accuracy": 0.84546,
    "mean_iu": 0.71962,
    "frequency_weighted_iu": 0.72737,
}
DEMO_IU = [0.77729, 0.66208, 0.71947]


def batch(classes=5, seed=0, absent=(), shape=(3, 9, 11)):
    """Random labels with void among them, and logits that are right more often than not."""
    rng = np.random.default_rng(seed)
    present = [c for c in range(classes) if c not in absent]
    labels = rng.choice(present, shape).astype("uint8")
    logits = rng.standard_normal((*shape, classes)).astype("float32")
    logits += 1.5 * (labels[..., None] == np.arange(classes))
    labels[rng.random(shape) < 0.2] = VOID
    return labels, logits


def count(labels, predicted, classes):
    """The confusion matrix, pixel by pixel."""
    matrix = np.zeros((classes, classes), "int64")
    for label, other in zip(labels.ravel(), predicted.ravel(), strict=True):
        if label != VOID:
            matrix[label, other] += 1
    return matrix


def plain_scores(matrix):
    """The four scores, class by class, from their definitions in the paper."""
    classes = range(len(matrix))
    total = matrix.sum()
    accuracies, ius, weighted = [], [], 0.0
    for c in classes:
        right, truth, predicted = matrix[c, c], matrix[c].sum(), matrix[:, c].sum()
        if truth:
            accuracies.append(right / truth)
        if truth + predicted:
            iu = right / (truth + predicted - right)
            ius.append(iu)
            weighted += truth * iu / total
    return {
        "pixel_accuracy": sum(matrix[c, c] for c in classes) / total,
        "mean_accuracy": np.mean(accuracies),
        "mean_iu": np.mean(ius),
        "frequency_weighted_iu": weighted,
    }


def assert_scores(found, expected, rel=1e-6):
    assert {name: float(found[name]) for name in SCORES} == pytest.approx(expected, rel=rel)


def filled(matrix, metric=SegmentationScores):
    metric = metric(len(matrix))
    metric.confusion.assign(np.asarray(matrix, "int64"))
    return metric


def test_published_example():
    scores = scores_of(DEMO_CONFUSION)
    assert_scores(scores, DEMO_SCORES, rel=1e-5)
    np.testing.assert_allclose(scores["per_class_iu"], DEMO_IU, atol=1e-5)
    assert_scores(filled(DEMO_CONFUSION).result(), DEMO_SCORES, rel=1e-5)


@pytest.mark.parametrize("absent", [(), (2,), (0, 4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_against_definitions(absent, seed):
    labels, logits = batch(absent=absent, seed=seed)
    matrix = count(labels, logits.argmax(-1), 5)
    assert_scores(scores_of(matrix), plain_scores(matrix))

    metric = SegmentationScores(5)
    metric.update_state(labels, logits)
    np.testing.assert_array_equal(metric.confusion, matrix)
    assert_scores(metric.result(), plain_scores(matrix))
    for name, make in ONE_SCORE.items():
        single = make(5)
        single.update_state(labels, logits)
        assert float(single.result()) == pytest.approx(plain_scores(matrix)[name], rel=1e-6)


def test_perfect_and_hopeless():
    labels, _ = batch(shape=(1, 20, 20))
    right = np.eye(5)[np.where(labels == VOID, 0, labels)]
    metric = SegmentationScores(5)
    metric.update_state(labels, right)
    assert_scores(metric.result(), dict.fromkeys(SCORES, 1.0))
    metric.reset_state()
    metric.update_state(labels, np.roll(right, 1, axis=-1))
    assert_scores(metric.result(), dict.fromkeys(SCORES, 0.0))


def test_class_in_neither_truth_nor_prediction_is_left_out():
    matrix = [[6, 2, 0], [1, 3, 0], [0, 0, 0]]
    expected = {
        "pixel_accuracy": 9 / 12,
        "mean_accuracy": (6 / 8 + 3 / 4) / 2,
        "mean_iu": (6 / 9 + 3 / 6) / 2,
        "frequency_weighted_iu": 8 / 12 * 6 / 9 + 4 / 12 * 3 / 6,
    }
    assert_scores(scores_of(matrix), expected)
    assert_scores(filled(matrix).result(), expected)
    np.testing.assert_array_equal(np.isnan(scores_of(matrix)["per_class_iu"]), [False, False, True])


def test_class_that_is_only_predicted_counts_as_zero():
    matrix = [[6, 1, 1], [1, 3, 0], [0, 0, 0]]
    expected = {
        "pixel_accuracy": 9 / 12,
        "mean_accuracy": (6 / 8 + 3 / 4) / 2,  # it has no truth to be right about
        "mean_iu": (6 / 9 + 3 / 5 + 0) / 3,
        "frequency_weighted_iu": 8 / 12 * 6 / 9 + 4 / 12 * 3 / 5,
    }
    assert_scores(scores_of(matrix), expected)
    assert_scores(filled(matrix).result(), expected)
    assert scores_of(matrix)["per_class_iu"][2] == 0


def test_no_pixel_at_all():
    nothing = dict.fromkeys(SCORES, float("nan"))
    scores = scores_of(np.zeros((3, 3), int))
    np.testing.assert_equal({name: scores[name] for name in SCORES}, nothing)
    metric = SegmentationScores(3)
    metric.update_state(np.full((1, 2, 2), VOID), np.zeros((1, 2, 2, 3)))
    np.testing.assert_equal({k: float(v) for k, v in metric.result().items()}, nothing)


def test_rows_are_the_truth():
    matrix, unknown = confusion_matrix(np.array([0, 0, 1, VOID]), np.array([1, 1, 0, 2]), 3)
    np.testing.assert_array_equal(matrix, [[0, 2, 0], [1, 0, 0], [0, 0, 0]])
    assert int(unknown) == 0


def test_first_class_wins_a_tie():
    metric = SegmentationScores(3)
    metric.update_state(np.array([[[1]]]), np.array([[[[0.0, 2.0, 2.0]]]]))
    np.testing.assert_array_equal(metric.confusion, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_labels_with_and_without_a_channel(dtype):
    labels, logits = batch()
    with_channel, without = SegmentationScores(5), SegmentationScores(5)
    with_channel.update_state(labels[..., None].astype(dtype), logits)
    without.update_state(labels.astype(dtype), logits)
    np.testing.assert_array_equal(with_channel.confusion, without.confusion)
    np.testing.assert_array_equal(without.confusion, count(labels, logits.argmax(-1), 5))


# 4 is also the number of a class: void wins there, as it does in the loss.
@pytest.mark.parametrize("ignore_label", [-1, 200, 4])
def test_other_void_labels(ignore_label):
    labels, logits = batch(absent=(4,))
    moved = np.where(labels == VOID, ignore_label, labels.astype("int32"))
    metric = SegmentationScores(5, ignore_label)
    metric.update_state(moved, logits)
    np.testing.assert_array_equal(metric.confusion, count(labels, logits.argmax(-1), 5))


def test_predicted_ids():
    labels, logits = batch()
    by_ids, by_logits = SegmentationScores(5), SegmentationScores(5)
    by_ids.update_from_ids(labels, logits.argmax(-1))
    by_logits.update_state(labels, logits)
    np.testing.assert_array_equal(by_ids.confusion, by_logits.confusion)


def test_batches_add_up_to_one_matrix():
    """Scores are those of the whole set, not means over batches or images."""
    labels, logits = batch(shape=(5, 6, 7))
    whole, parts = SegmentationScores(5), SegmentationScores(5)
    whole.update_state(labels, logits)
    for start, stop in ((0, 2), (2, 4), (4, 5), (5, 5)):
        parts.update_state(labels[start:stop], logits[start:stop])
    np.testing.assert_array_equal(parts.confusion, whole.confusion)
    assert_scores(parts.result(), plain_scores(count(labels, logits.argmax(-1), 5)))


@pytest.mark.parametrize("already", [2**24, 2**31, 2**53])
def test_one_more_pixel_on_top_of_many(already):
    """Where float32, int32 or float64 would stand still."""
    metric = filled(np.full((2, 2), already))
    metric.update_state(np.array([[[0, 1, 1]]]), np.array([[[[1.0, 0.0]] * 3]]))
    np.testing.assert_array_equal(
        metric.confusion, [[already + 1, already], [already + 2, already]]
    )


def test_scores_of_many_pixels():
    matrix = np.random.default_rng(0).integers(2**40, 2**44, (21, 21))
    assert_scores(filled(matrix).result(), plain_scores(matrix))
    assert_scores(scores_of(matrix), plain_scores(matrix), rel=1e-12)


@pytest.mark.parametrize("label", [5, 100, 254, 256, -1])
def test_unknown_label_raises(label):
    labels, logits = batch()
    labels = labels.astype("int32")
    labels[0, 0, :2] = label
    metric = SegmentationScores(5)
    with pytest.raises(ValueError, match=r"0\.\.4, or 255 for void.*2 pixels"):
        metric.update_state(labels, logits)
    assert not np.asarray(metric.confusion).any()  # nothing is half counted


@pytest.mark.parametrize("name", ONE_SCORE)
def test_unknown_label_spoils_the_scores_of_a_compiled_function(name):
    labels, logits = batch()
    metric = ONE_SCORE[name](5)
    update = tf.function(metric.update_state)
    update(labels, logits)
    good = float(metric.result())
    assert np.isfinite(good)

    wrong = labels.copy()
    wrong[0, 0, 0] = 17
    update(wrong, logits)
    assert np.isnan(float(metric.result()))
    update(labels, logits)
    assert np.isnan(float(metric.result()))  # good batches do not hide it

    metric.reset_state()
    update(labels, logits)
    assert float(metric.result()) == good


def test_compiled_function_counts_the_same():
    labels, logits = batch()
    metric = SegmentationScores(5)
    tf.function(
        metric.update_state,
        input_signature=[
            tf.TensorSpec((None, None, None), tf.uint8),
            tf.TensorSpec((None, None, None, 5), tf.float32),
        ],
    )(labels, logits)
    np.testing.assert_array_equal(metric.confusion, count(labels, logits.argmax(-1), 5))


@pytest.mark.parametrize("absent", [(), (1, 3)])
def test_mean_iu_agrees_with_keras(absent):
    labels, logits = batch(absent=absent)
    ours = MeanIU(5)
    theirs = keras.metrics.MeanIoU(5, ignore_class=VOID, sparse_y_pred=False)
    for start in range(3):
        part = slice(start, start + 1)
        ours.update_state(labels[part], logits[part])
        theirs.update_state(labels[part], logits[part])
    assert float(ours.result()) == pytest.approx(float(theirs.result()), rel=1e-6)


def test_reset():
    labels, logits = batch()
    metric = SegmentationScores(5)
    metric.update_state(labels, logits)
    first = metric.result()
    metric.update_state(*batch(seed=1))
    metric.reset_state()
    assert not np.asarray(metric.confusion).any()
    assert metric.confusion.dtype == "int64"
    metric.update_state(labels, logits)
    assert_scores(metric.result(), {name: float(value) for name, value in first.items()})


def identity_model(metrics, loss=None, **options):
    """A model whose "images" are the logits themselves."""
    model = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Identity()])
    model.compile(loss=loss or PixelCrossEntropy(), metrics=metrics, **options)
    return model


@pytest.mark.parametrize("compiled", [True, False])
def test_evaluate(compiled):
    # 5 images in batches of 2: the last batch is smaller.
    labels, logits = batch(shape=(5, 8, 8))
    expected = plain_scores(count(labels, logits.argmax(-1), 5))
    model = identity_model([SegmentationScores(5)], run_eagerly=not compiled)
    found = model.evaluate(logits, labels[..., None], batch_size=2, verbose=0, return_dict=True)
    assert_scores(found, expected)
    # A second round starts from nothing.
    again = model.evaluate(logits, labels[..., None], batch_size=2, verbose=0, return_dict=True)
    assert_scores(again, expected)


def test_evaluate_single_scores():
    labels, logits = batch(shape=(3, 8, 8))
    model = identity_model([make(5, name=name) for name, make in ONE_SCORE.items()])
    found = model.evaluate(logits, labels, batch_size=2, verbose=0, return_dict=True)
    assert_scores(found, plain_scores(count(labels, logits.argmax(-1), 5)))


def test_evaluate_with_unknown_label():
    # No loss could be had from such a label; the scores alone have to tell.
    labels, logits = batch(shape=(2, 8, 8))
    labels[1, 0, 0] = 17
    model = identity_model([SegmentationScores(5)], loss=lambda y, logits: keras.ops.mean(logits))
    found = model.evaluate(logits, labels, batch_size=1, verbose=0, return_dict=True)
    assert all(np.isnan(found[name]) for name in SCORES)


def test_config():
    metric = SegmentationScores(7, ignore_label=0, name="mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is SegmentationScores
    assert again.get_config() == metric.get_config()
    for make in ONE_SCORE.values():
        assert type(keras.metrics.deserialize(keras.metrics.serialize(make(3)))) is make
