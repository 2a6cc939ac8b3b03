"""Label maps for images on several machines at once, by Ray Data."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from fcn_keras.errors import UserError
from fcn_keras.inference.job import make_worklist
from fcn_keras.inference.network import load_network
from fcn_keras.inference.opening import open_network
from fcn_keras.inference.outputs import DEFAULT, Outputs
from fcn_keras.inference.predict import label_images

try:
    import ray
    import ray.data
except ImportError as error:
    raise UserError("--ray: needs Ray, on every machine: pip install 'fcn_keras[ray]'.") from error

# Images that a worker is given at a time: enough to keep it busy, few enough to share out.
_SHARE = 32


def predict_on_ray(
    source: str | Path,
    inputs: Iterable[str | Path],
    output: str | Path,
    *,
    address: str = "local",
    workers: int | None = None,
    job: dict | None = None,
    fresh: bool = False,
    batch_size: int | None = None,
    tile: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    outputs: Outputs = DEFAULT,
    classes: list[str] | None = None,
) -> list[Path]:
    """Does what `fcn_keras.inference.predict.predict` does, on all machines of a Ray cluster.

    Every machine has to reach the network, the images and the output by the same paths, as on a
    shared file system; no pixels go through Ray. What a lost machine had been given is done by
    another one. The same command goes on where it was stopped.

    Args:
        source: run directory or `.keras` file.
        inputs: image files, and folders of them.
        output: folder to write to.
        address: of the cluster: `"auto"` on one of its machines, `"ray://HOST:10001"` from
            outside; `"local"` starts one on this machine alone.
        workers: processes that have the network in memory; one for each GPU, else one for each
            machine, if not given.
        job, fresh, batch_size, tile, scales, flip, outputs: see
            `fcn_keras.inference.predict.predict`.
        classes: names of the network's classes, which are read from `source` if not given.

    Returns:
        The label maps' paths, in order of the images.

    Raises:
        UserError: if there is no such cluster; and as `predict` does.

    Example:

    >>> predict_on_ray("runs/roads-fcn8s", ["photos"], "labelled", address="auto")
    """
    classes = classes or load_network(source).classes
    worklist = make_worklist(inputs, output, job, fresh, outputs)
    if not worklist.pending:
        return worklist.finish([], classes)
    _connect(address)
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        workers = workers or gpus or len(ray.nodes())
        given = {os.path.abspath(path): path for path in worklist.pending}
        paths = [{"path": path} for path in given]
        shares = ray.data.from_items(paths).map_batches(
            _Worker,
            fn_constructor_args=(os.path.abspath(source), os.path.abspath(output)),
            fn_constructor_kwargs={
                "views": {"tile": tile, "scales": scales, "flip": flip},
                "options": {"batch_size": batch_size, "job": job, "outputs": outputs},
            },
            batch_size=_SHARE,
            compute=ray.data.ActorPoolStrategy(size=min(workers, -(-len(paths) // _SHARE))),
            # A network takes all processors of a machine that are free, whatever is set aside
            # for it; a whole one would leave none for Ray on a small machine.
            num_cpus=0.5,
            num_gpus=1 if gpus else 0,
        )
        done = ({given[row["path"]]: row["fault"]} for row in shares.iter_rows())
        return worklist.finish(done, classes)
    finally:
        ray.shutdown()


class _Worker:
    """A process with a network in memory, which labels one share of the images after another."""

    def __init__(self, source, output, views, options):
        network = load_network(source)
        self.segmenter = open_network(network.model, **views)
        self.to, self.options = (output, network.classes, network.colors), options

    def __call__(self, share):
        images = [Path(path) for path in share["path"]]
        faults = {}
        for done in label_images(self.segmenter, images, *self.to, **self.options):
            faults |= done
        return {
            "path": [str(path) for path in faults],
            "fault": [fault or "" for fault in faults.values()],
        }


def _connect(address):
    # Ray's own lines about itself, and its report to its makers.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--ray: no cluster can be reached at {address!r} ({error}).") from error
    logging.getLogger("ray.data").setLevel("CRITICAL")
    ray.data.DataContext.get_current().enable_progress_bars = False
