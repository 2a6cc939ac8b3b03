"""A page in the browser that shows what a network makes of an image."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fcn_keras.data.files.images import read_image, read_size
from fcn_keras.demo.examples import EXAMPLES, examples_of
from fcn_keras.demo.html import legend_html, result_html
from fcn_keras.demo.style import CSS
from fcn_keras.errors import ServerError, UserError
from fcn_keras.exporters.formats import MAX_PIXELS
from fcn_keras.inference.opening import is_address, open_network
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.system.signals import ENDING
from fcn_keras.system.sockets import listen
from fcn_keras.system.spelling import shown_name

if TYPE_CHECKING:
    import gradio

# Of more numbers, half a gigabyte, the page shows labels alone.
_MAX_PROBABILITIES = 1 << 27

# Images that are shown at a time: the page holds all of their pictures.
_MAX_IMAGES = 12

# Images in a batch, their height, their width, RGB.
_ANY_SIZE = (None, None, None, 3)


def demo(
    source: str | Path, host: str = "127.0.0.1", port: int = 7860, classes: str | Path | None = None
) -> None:
    """Serves the page until Ctrl-C or SIGTERM ends it, and prints its address once it is ready.

    Nothing is written but a network's graph, as by `predict`, and to a temporary folder, which is
    deleted at the end. The page has no part that comes from another host.

    Args:
        source: a path or an address, see `fcn_keras.inference.opening.open_network`.
        host: address to listen on; `"0.0.0.0"` for all of the machine's.
        port: port to listen on.
        classes: where names and colours of the classes are, see `open_network`.

    Raises:
        UserError: if Gradio is missing, the address cannot be used, or there is no such network.
        KeyboardInterrupt: when it is ended.
    """
    listen(host, port, "--port").close()
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="fcn-keras-demo-") as folder:
        gradio = _import_gradio(folder, host)
        segmenter = open_for_page(source, classes)
        segmenter.label([np.zeros((64, 64, 3), np.uint8)])  # the first takes longer
        page = build_page(segmenter, examples_of(source))
        # As by default, but bold: the semi-bold that comes with Gradio has no letters.
        font = [gradio.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "sans-serif"]
        try:
            page.launch(
                server_name=host,
                server_port=port,
                theme=gradio.themes.Default(primary_hue="indigo", font=font),
                css=CSS,
                footer_links=[],
                quiet=True,
                prevent_thread_lock=True,
                show_error=True,
                # What environment variables or a notebook might turn on.
                share=False,
                inline=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                run_history=False,
                enable_monitoring=False,
            )
            print(f"{segmenter.name} on http://{host}:{port} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def _import_gradio(folder, host):
    # Most of these are looked at by the import alone. Launches are counted unless told not to, and
    # the page is asked for by way of the proxy.
    os.environ["GRADIO_TEMP_DIR"] = folder
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), host, "localhost")))
    try:
        import gradio
    except ImportError as error:
        raise UserError(f'demo: needs Gradio: pip install "fcn_keras[demo]". ({error})') from error
    return gradio


def open_for_page(source: str | Path, classes: str | Path | None = None) -> Segmenter:
    """Opens what labels the images on the page: see `open_network`.

    Raises:
        UserError: if there is no such network, or it does not take RGB images of any size.
    """
    what = _client(str(source)) if is_address(source) else source
    segmenter = open_network(what, classes=classes)
    shape = segmenter.network.model.input_shape if segmenter.network else _ANY_SIZE
    if shape != _ANY_SIZE:
        raise UserError(
            f"{source}: takes images of ({', '.join(map(str, shape[1:]))}). The page is for "
            "networks that take RGB images of any size, (None, None, 3)."
        )
    segmenter.check_photographs("the page")
    segmenter.too_large = "takes more memory than there is. Make it smaller."
    return segmenter


def _client(url):
    from fcn_keras.client.client import Client

    try:
        return Client(url, retries=1)  # someone is waiting
    except UserError as error:
        raise UserError(str(error).replace("--server:", "URL:", 1)) from error


def read_upload(path: str | Path) -> np.ndarray:
    """Reads an image that came from a browser.

    Returns:
        A uint8 array `(H, W, 3)`, RGB, upright as its EXIF data says.

    Raises:
        UserError: if the file is no image, a broken one, or has more than 25 million pixels by
            what its header says; names the file without its folder.
    """
    path = Path(path)
    try:
        height, width = read_size(path)
        if height * width > MAX_PIXELS:
            raise UserError(
                f"{path}: has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million. "
                "Make it smaller."
            )
        return read_image(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error


def answer_html(
    name: str, read: Callable[[], np.ndarray], segmenter: Segmenter
) -> tuple[str, bool]:
    """Labels an image.

    Args:
        name: the image's name.
        read: gives the image, uint8 `(H, W, 3)`.
        segmenter: what labels it.

    Returns:
        A pair: HTML, either that of `result_html` or a message that says what is wrong with the
        image or the server; and whether it is a result.
    """
    try:
        image = read()
        start = time.perf_counter()
        classes, colors = segmenter.classes, segmenter.colors
        scored = _can_score(segmenter, image)
        [answer] = (segmenter.score if scored else segmenter.label)([image])
        seconds = time.perf_counter() - start
        if not isinstance(answer, str):
            class_ids = answer.argmax(axis=-1).astype(np.uint8) if scored else answer
            about = seconds, classes, colors, answer if scored else None
            return result_html(name, image, class_ids, *about), True
        message = f"{name}: {answer}"
    except (UserError, ServerError) as error:
        message = str(error)
    except MemoryError:  # of the pictures
        message = f"{name}: {segmenter.too_large}"
    return fault_html(message), False


def fault_html(message: str) -> str:
    """Writes what is wrong."""
    return f'<p class="fcn-fault" role="alert">{escape(shown_name(message))}</p>'


def answers_html(paths: Sequence[str | Path], segmenter: Segmenter) -> Iterator[tuple[str, bool]]:
    """Labels one uploaded image after the other.

    Yields:
        After each, what the page shows of all until then, and whether there is a result; see
        `answer_html`.
    """
    pages, any_good = [], False
    for path in paths[:_MAX_IMAGES]:
        found, good = answer_html(Path(path).name, partial(read_upload, path), segmenter)
        pages.append(found)
        any_good |= good
        yield "".join(pages), any_good
    if more := paths[_MAX_IMAGES:]:
        pages.append(fault_html(f"{len(more)} more: the page takes {_MAX_IMAGES} at a time."))
        yield "".join(pages), any_good


def _can_score(segmenter, image):
    """Whether an image's probabilities fit into memory, and no network's line."""
    numbers = image.shape[0] * image.shape[1] * len(segmenter.classes)
    return not segmenter.requests and numbers <= _MAX_PROBABILITIES


def build_page(segmenter: Segmenter, examples: dict[str, np.ndarray]) -> "gradio.Blocks":
    """Builds the page.

    Args:
        segmenter: what labels the images.
        examples: images to try, by name.

    Returns:
        A `gradio.Blocks`, to be launched with `css=CSS`.
    """
    import gradio as gr

    def show_uploads(paths):
        for page, good in answers_html(paths, segmenter):
            # The place for dropping is free again at once.
            yield None, page, gr.Slider(visible=good)

    def show_example(event: gr.SelectData):
        name, image = list(examples.items())[event.index]
        page, good = answer_html(name, lambda: image, segmenter)
        return page, gr.Slider(visible=good)

    class_ids, title = range(len(segmenter.classes)), shown_name(segmenter.name)
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(
            f'<header class="fcn-head"><h1>{escape(title)}</h1><p>This network gives each '
            f"pixel of an image one of {len(class_ids)} classes. Drop images to see which."
            "</p></header>"
        )
        with gr.Row():
            upload = gr.File(
                label="Images",
                file_count="multiple",
                file_types=["image"],
                height=130,
                scale=2,
            )
            gallery = _gallery(examples) if examples else None
        opacity = gr.Slider(0, 1, 0.5, step=0.01, label="Opacity of the colours", visible=False)
        result = gr.HTML(legend_html(dict.fromkeys(class_ids), segmenter.classes, segmenter.colors))

        shown = [result, opacity]
        # One image at a time, whoever sends it.
        options = dict(concurrency_id="network", show_progress_on=result, api_visibility="private")
        upload.upload(show_uploads, upload, [upload, *shown], **options)
        if gallery:
            gallery.select(show_example, None, shown, **options)
        # The browser blends the layers: the network is not asked again, nor is this process.
        opacity.change(
            None,
            opacity,
            js="(x) => document.documentElement.style.setProperty('--fcn-opacity', x)",
        )
    return page


def _gallery(examples):
    import gradio as gr

    return gr.Gallery(
        [(Image.fromarray(image), shown_name(name)) for name, image in examples.items()],
        show_label=False,
        columns=EXAMPLES,
        height=130,
        scale=3,
        object_fit="cover",
        elem_classes="fcn-examples",
        allow_preview=False,
        interactive=False,
        buttons=[],
    )
