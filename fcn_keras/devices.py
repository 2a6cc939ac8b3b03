"""Which devices a job runs on, as a `tf.distribute` strategy."""

import re

import tensorflow as tf

from fcn_keras.errors import UserError


def make_strategy(devices: str | None = None) -> tf.distribute.Strategy:
    """Makes a `MirroredStrategy`: one replica of the network on every device.

    Args:
        devices: a list such as `"gpu:0,gpu:1"`, or `"cpu:2"` for two logical CPUs; if not
            given, all GPUs, else one CPU.

    Raises:
        UserError: if there is no such device.
    """
    if devices is None:
        gpus = len(tf.config.list_logical_devices("GPU"))
        names = [f"GPU:{i}" for i in range(gpus)] or ["CPU:0"]
    elif match := re.fullmatch(r"cpu:([1-9]\d*)", devices):
        names = _logical_cpus(int(match[1]))
    elif re.fullmatch(r"gpu:\d+(,gpu:\d+)*", devices):
        names = devices.upper().split(",")
        have = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices("GPU")]
        missing = [name for name in names if name not in have]
        if missing or len(set(names)) != len(names):
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
