"""What the scores cost beside a training step."""

import statistics
import time

from fcn_keras.bench.peers.training import make_batch, make_task, make_trainer
from fcn_keras.bench.steps import Step
from fcn_keras.system.progress import progress_bar

REPEATS = 20  # of what is so short that the clock's own cost would count


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

    images, labels = batch = make_batch(step)
    logits = tf.random.stateless_normal((*labels.shape[:3], step.num_classes), (0, 1))
    task = make_task(step)
    update = tf.function(lambda count=task.count_pixels: count(logits, labels))
    result = tf.function(task.score_metric.result)
    scored = make_trainer(task)
    scored(batch)  # traced with what the task does not do from now on
    # Methods of one object are replaced: what the step calls stays, and does nothing.
    task.count_pixels = lambda *_: None  # type: ignore[method-assign]
    task.score_metric.result = dict  # type: ignore[method-assign]
    without = make_trainer(task)
    parts: dict = {
        "update": (update, REPEATS),
        "result": (lambda: result()["mean_iu"].numpy(), REPEATS),
        "step": (lambda: scored(batch), 1),
        "step_without": (lambda: without(batch), 1),
    }
    for part, _ in parts.values():
        part()
    times: dict[str, list[float]] = {name: [] for name in parts}
    with progress_bar("bench metrics", rounds, "round") as bar:
        for _ in range(rounds):
            for name, (part, repeats) in parts.items():
                times[name].append(_milliseconds(part, repeats))
            bar.update()
    pairs = zip(times["step"], times["step_without"], strict=True)
    times["difference"] = [with_scores - plain for with_scores, plain in pairs]
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    return medians | {"share": (medians["update"] + medians["result"]) / medians["step"]}


def table(results: dict[str, float]) -> str:
    """Returns what `bench_metrics` measured as lines for a reader."""
    *times, share = results
    lines = [f"{name:16} {results[name]:9.3f} ms" for name in times]
    lines.append(f"{share:16} {100 * results[share]:9.3f} % of the step (update and result)")
    return "\n".join(lines)


def _milliseconds(part, repeats):
    started = time.perf_counter()
    for _ in range(repeats):
        part()
    return 1000 * (time.perf_counter() - started) / repeats
