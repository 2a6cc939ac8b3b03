"""Which devices and machines a job runs on, as a `tf.distribute` strategy."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from fcn_keras.errors import MachineLost, UserError, first_line


def make_strategy(devices: str | None = None, cluster: str | None = None) -> tf.distribute.Strategy:
    """Makes a `MirroredStrategy`: one replica of the network on every device.

    Args:
        devices: a list such as `"gpu:0,gpu:1"`, or `"cpu:2"` for two logical CPUs; if not
            given, all GPUs, else one CPU.
        cluster: how to find the other machines of a training on several: `"tf_config"` by the
            environment variable `TF_CONFIG`, as Kubernetes' training operators set it, `"slurm"`
            by those of Slurm, `"none"` for one machine. If not given, by `TF_CONFIG` where it is
            set. Each machine uses all its GPUs, else one CPU.

    Returns:
        The strategy; a `MultiWorkerMirroredStrategy` on several machines, which waits for them
        and must be made before anything else of TensorFlow.

    Raises:
        UserError: if there is no such device, or the machines are not described rightly.
    """
    if cluster is None:
        cluster = "tf_config" if os.environ.get("TF_CONFIG") else "none"
    if cluster != "none":
        if devices is not None:
            raise UserError(
                "`devices` must be left out on several machines: each uses all that it has "
                f"(CUDA_VISIBLE_DEVICES says otherwise). Received: {devices!r}."
            )
        resolver = _resolver(cluster)
        with reaching():
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    if devices is None:
        names = [f"GPU:{i}" for i in range(len(tf.config.list_logical_devices("GPU")))] or ["CPU:0"]
    elif match := re.fullmatch(r"cpu:([1-9]\d*)", listed := re.sub(r"\s", "", devices).lower()):
        names = _logical_cpus(int(match[1]))
    elif re.fullmatch(r"gpu:\d+(,gpu:\d+)*", listed):
        names = listed.upper().split(",")
        have = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices("GPU")]
        if not set(names) <= set(have) or len(set(names)) != len(names):
            raise UserError(
                f"`devices` must name GPUs that are here ({', '.join(have) or 'there are none'}), "
                f"each once. Received: {devices!r}."
            )
    else:
        raise UserError(
            "`devices` must be a list such as 'gpu:0,gpu:1', or 'cpu:2' for two logical CPUs. "
            f"Received: {devices!r}."
        )
    return tf.distribute.MirroredStrategy(names)


def on_cpus(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas of this machine are on its processor."""
    return "CPU" in strategy.extended.worker_devices[0]


def is_alone(strategy: tf.distribute.Strategy) -> bool:
    """Whether this is the only machine."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values())) == 1


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes, of those on all machines."""
    return strategy.extended.should_checkpoint


def wait_for_all(strategy: tf.distribute.Strategy):
    """Waits until every machine has come to this point."""
    all_have(strategy, [1])


def all_have(strategy: tf.distribute.Strategy, numbers) -> bool:
    """Whether every machine has the same numbers as this one."""
    if is_alone(strategy):
        return True
    numbers = tf.constant([float(number) for number in numbers], tf.float64)

    def add_up():
        return tf.distribute.get_replica_context().all_reduce("sum", numbers)

    total = strategy.experimental_local_results(strategy.run(tf.function(add_up)))[0]
    return bool(tf.reduce_all(total == numbers * strategy.num_replicas_in_sync))


@contextmanager
def reaching(strategy: tf.distribute.Strategy | None = None) -> Iterator[None]:
    """Says in one line that another machine was lost.

    Args:
        strategy: says whether there are others; there are if not given.

    Raises:
        MachineLost: instead of what TensorFlow raises on the others.
    """
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ) as error:
        if strategy and is_alone(strategy):
            raise
        raise MachineLost("Another machine cannot be reached any more.") from error


def _resolver(cluster):
    """Says who the other machines are, and which one this is."""
    resolvers = tf.distribute.cluster_resolver
    try:
        if cluster == "slurm":
            # It asks a tool of NVIDIA's for GPUs, unless it is told of some, and fails on none.
            pretended = {} if shutil.which("nvidia-smi") else dict(gpus_per_node=1, gpus_per_task=1)
            resolver = resolvers.SlurmClusterResolver(auto_set_gpu=not pretended, **pretended)
        else:
            resolver = resolvers.TFConfigClusterResolver()
        workers = resolver.cluster_spec().as_dict()
        place = (resolver.task_type, resolver.task_id)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"`cluster='{cluster}'`: {first_line(error)}") from error
    machines = [*workers.get("chief", []), *workers.get("worker", [])]
    if set(workers) - {"chief", "worker"} or place[0] not in workers:
        raise UserError(
            f"`cluster='{cluster}'` must describe workers, perhaps with a chief, and which one "
            f"this is. Received: {workers} and {place}."
        )
    print(f"machine {place[0]} {place[1]} of {', '.join(map(str, machines))}", flush=True)
    return resolver


def _logical_cpus(count):
    [cpu] = tf.config.list_physical_devices("CPU")
    if (tf.config.get_logical_device_configuration(cpu) or [None]) != [None] * count:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError:  # TensorFlow has started; what it has now must do
            pass
    if len(tf.config.list_logical_devices("CPU")) < count:
        raise UserError(
            f"`devices='cpu:{count}'` must be set before TensorFlow has started in this process."
        )
    return [f"CPU:{i}" for i in range(count)]
