"""A SavedModel behind HTTP, on KServe's server, for where no TensorFlow Serving is at hand."""

import asyncio
import logging
import re
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf
from kserve import Model, ModelRepository
from kserve.errors import InferenceError, InvalidInput
from kserve.model_server import app
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from fcn_keras.errors import UserError
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference.classes import find_saved_model
from fcn_keras.inference.network import load_network
from fcn_keras.serving.request import unpacked
from fcn_keras.serving.rest_model import RestModel
from fcn_keras.system.signals import ENDING
from fcn_keras.system.sockets import listen

# More connections are answered "not now" (503), which `fcn_keras.client` takes as it is meant: a
# request that waits holds its images in memory.
MAX_CONNECTIONS = 128


def serve(
    source: str | Path,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8501,
    debug: bool = False,
) -> None:
    """Serves a network until Ctrl-C or SIGTERM, by TensorFlow Serving's REST protocol.

    It prints its address once it is ready. A wrong request is answered with 400 and one line.

    Args:
        source: a run directory or a `.keras` file, which is exported to a temporary folder first;
            or what `fcn_keras.exporters.saved_model.export` wrote, one version or the folder of
            them, of which the newest is taken.
        name: what the model is called in addresses; as `source` if not given.
        host: address to listen at; `"0.0.0.0"` for all of this machine's.
        port: port to listen at; 0 for any that is free.
        debug: whether to let KServe write its log.

    Raises:
        UserError: if there is no such network, or the address cannot be listened at.
        KeyboardInterrupt: when Ctrl-C ends it.
    """
    if not debug:
        for logger in ("kserve", "uvicorn"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
    else:
        logging.basicConfig(level=logging.INFO)
    # What was begun is finished, and temporary folders are deleted.
    for number in ENDING:
        signal.signal(number, lambda *_: sys.exit(0))
    listener = listen(host, port, "--http-port")
    with listener, _exported(source) as folder:
        version = int(folder.name) if folder.name.isdecimal() else 1
        _run(RestModel(folder, _name(source, folder, name), version), listener)


@contextmanager
def _exported(source):
    exported = find_saved_model(source)
    if exported:
        yield exported
        return
    network = load_network(source)
    with tempfile.TemporaryDirectory(prefix="fcn-keras-serve-") as folder:
        yield export(
            network.model,
            folder,
            network.classes,
            network.colors,
            version=int(time.time()),  # clients tell networks apart by it
            processor="gpu" if tf.config.list_logical_devices("GPU") else "cpu",
        )


def _name(source, folder, name):
    if name is None:
        source = Path(source).resolve()
        is_version = source == folder.resolve() and source.name.isdecimal()
        name = source.parent.name if is_version else source.stem
    if not re.fullmatch(r"[^\s/:?#%]+", name):
        raise UserError(f"--name: must be a word without any of / : ? # %. Received: {name!r}.")
    return name


def _run(model, listener):
    repository, worker = _Repository(), _Worker(model)
    repository.update(worker)
    dataplane = DataPlane(repository)

    async def predict(request: Request) -> JSONResponse:
        encoding = request.headers.get("content-encoding", "")
        return JSONResponse(await worker.answer(await request.body(), encoding))

    # Before KServe adds its own, whose status says less, and which parse JSON more narrowly.
    path = f"/v1/models/{model.name}"
    for start in (path, f"{path}/versions/{model.version}"):
        app.add_api_route(start, model.status, methods=["GET"])
        app.add_api_route(f"{start}/metadata", model.metadata, methods=["GET"])
        app.add_api_route(f"{start}:predict", predict, methods=["POST"], response_model=None)

    async def explain(request, error):
        message = f"{request.url.path}: {error.detail}. What is served is {path}:predict."
        return JSONResponse({"error": message}, error.status_code)

    app.add_exception_handler(HTTPException, explain)
    extension = ModelRepositoryExtension(repository)
    host, port = listener.getsockname()[:2]
    server = RESTServer("kserve.model_server:app", dataplane, extension, port)
    server.config.limit_concurrency = MAX_CONNECTIONS
    host = f"[{host}]" if ":" in host else host
    print(f"{model.name}, version {model.version}, on http://{host}:{port}{path}", flush=True)
    server.run(sockets=[listener])


class _Repository(ModelRepository):
    def unload(self, name):
        # KServe offers it to everyone who can reach the server.
        raise InvalidInput("The model is served as long as the server runs.")


class _Worker(Model):
    """Lets KServe ask a `RestModel`.

    One forward pass after the other: each takes all cores and most of the memory, so that two at
    once would take twice the memory and no less time.
    """

    def __init__(self, model):
        super().__init__(model.name)
        self.model, self.ready = model, True
        self.thread = ThreadPoolExecutor(max_workers=1)

    async def predict(self, payload, headers=None):
        return await self.answer(payload)

    async def answer(self, body, encoding=""):
        def work():
            return self.model.predict(unpacked(body, encoding) if encoding else body)

        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        except UserError as error:
            raise InvalidInput(str(error)) from error
        except Exception as error:
            what = f"{type(error).__name__}: " + str(error).partition("\n")[0]
            print(f"fault: {what} (--debug shows where)", file=sys.stderr, flush=True)
            raise InferenceError(what) from error
