"""What the scores cost beside a training step."""

import statistics
import time

from fcn_keras.bench.steps import Step, make_batch, make_task, make_trainer
from fcn_keras.system.progress import progress_bar


def bench_metrics(step: Step, rounds: int = 5) -> dict[str, float]:
    """Measures what counting pixels and the four scores add to a training step.

    Args:
        step: the training step.
        rounds: how often each is measured, in turns.

    Returns:
        Milliseconds, medians: `update`, counting the pixels of a batch by their logits; `result`,
        the four scores; `step`, a training step that does both; `step_without`, one that does
        neither; `difference`, from one to the other in one round; and `share`, `update` and
        `result` over `step`, a fraction of 1. The difference of two steps is small beside how
        much each of them varies, which is why it does not make the share.
    """
    import tensorflow as tf

    from fcn_keras.evaluation.metrics import SegmentationScores

    images, labels = batch = make_batch(step)
    logits = tf.random.stateless_normal((*labels.shape[:3], step.num_classes), (0, 1))
    metric = SegmentationScores(step.num_classes)
    update = tf.function(lambda: metric.update_state(labels, logits))
    result = tf.function(metric.result)

    task = make_task(step)
    trainers = {"step": make_trainer(task)}
    trainers["step"](batch)  # traced with what the metric does not do from now on
    task.score_metric.update_state = lambda *_: None
    task.score_metric.result = dict
    trainers["step_without"] = make_trainer(task)
    parts = {
        "update": lambda: update(),
        "result": lambda: result()["mean_iu"].numpy(),
        **{name: lambda train=train: train(batch) for name, train in trainers.items()},
    }
    for part in parts.values():
        part()
    found = {name: [] for name in parts}
    with progress_bar("bench metrics", rounds, "round") as bar:
        for _ in range(rounds):
            for name, part in parts.items():
                # A short one many times over, so that the clock's own cost does not count.
                many = 1 if name.startswith("step") else 20
                found[name].append(1000 * _seconds(_repeated(part, many)) / many)
            bar.update()
    found["difference"] = [
        scored - without
        for scored, without in zip(found["step"], found["step_without"], strict=True)
    ]
    medians = {name: statistics.median(times) for name, times in found.items()}
    return medians | {"share": (medians["update"] + medians["result"]) / medians["step"]}


def _repeated(part, many):
    def repeat():
        for _ in range(many):
            part()

    return repeat


def _seconds(function, *args):
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started
