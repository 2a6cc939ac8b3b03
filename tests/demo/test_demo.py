import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import urlsplit

import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError
from fcn_keras.client.client import Client
from fcn_keras.data.files.images import read_image
from fcn_keras.data.palette import palette_for
from fcn_keras.data.tfds.builders.shapes.scene import draw_scene, scene_rng
from fcn_keras.demo.certainty import least_certain
from fcn_keras.demo.examples import examples_of
from fcn_keras.demo.html import at_shown_size, class_shares, overlay_layers, result_html
from fcn_keras.demo.page import answer_html, answers_html, open_for_page, read_upload
from fcn_keras.errors import ServerError
from fcn_keras.exporters.saved_model import export
from fcn_keras.figures.label_maps import overlay
from fcn_keras.inference.predict import predict

# Names that would do harm where they were taken for HTML or a template.
CLASSES = ["dark", "red <b>", "green {{value}}", "blue ${1 + 1}"]
COLORS = [(0, 0, 0), (250, 0, 9), (0, 255, 70), (128, 64, 32)]


@pytest.fixture(scope="module")
def network():
    """A network that takes a pixel for the primary colour it has most of, or for dark."""
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(4, 1)
    model = keras.Model(image, conv(image))
    kernel = np.concatenate([np.zeros((3, 1)), np.eye(3)], axis=1)
    conv.set_weights([kernel[None, None], np.array([60.5, 0.1, 0, -0.1])])
    return model


@pytest.fixture(scope="module")
def run(network, tmp_path_factory):
    """A run directory as the page needs it."""
    folder = tmp_path_factory.mktemp("runs") / "primary-colours"
    folder.mkdir()
    network.save(folder / "best.keras")
    about = {"settings": {"dataset": "shapes"}, "dataset": {"classes": CLASSES, "colors": COLORS}}
    (folder / "config.json").write_text(json.dumps(about))
    return folder


def photo(height=120, width=160, seed=0):
    """Smooth patches in which all four classes occur, which JPEG keeps well."""
    rng = np.random.default_rng(seed)
    primaries = np.array([[40, 30, 20], [200, 60, 70], [50, 180, 90], [60, 80, 220]])
    patches = primaries[(np.add.outer(np.arange(3), np.arange(4)) + rng.integers(4)) % 4]
    image = Image.fromarray(patches.astype("uint8")).resize((width, height), Image.NEAREST)
    ramp = np.linspace(0, 15, width).astype("uint8")
    return np.asarray(image) + ramp[:, None]


def classes_of(image):
    """What the network finds, without it."""
    scores = np.concatenate([np.full((*image.shape[:2], 1), 60.5), image + [0.1, 0, -0.1]], axis=-1)
    return scores.argmax(axis=-1).astype("uint8")


def save(path, image, **options):
    Image.fromarray(image).save(path, **options)
    return path


def opened(content):
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
    return picture


def from_uri(uri):
    return opened(base64.b64decode(uri.partition("base64,")[2]))


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data.strip())

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def bad_files(folder):
    """What cannot be shown, with what the page says of it."""
    (folder / "notes.jpg").write_text("no image at all\n")
    save(folder / "whole.jpg", photo())
    content = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    Image.new("1", (5200, 5001)).save(folder / "large.png")
    return {
        folder / "notes.jpg": "notes.jpg: cannot be read as an image",
        folder / "cut.jpg": "cut.jpg: cannot be read as an image",
        folder / "large.png": "large.png: has 5200 x 5001 pixels, more than 25 million",
    }


def test_class_shares_come_sorted():
    assert class_shares(np.array([[3, 1, 1], [0, 1, 3]])) == {1: 1 / 2, 3: 1 / 3, 0: 1 / 6}
    assert list(class_shares(np.array([[3, 1, 1], [0, 1, 3]]))) == [1, 3, 0]


@pytest.mark.parametrize(
    "size, shown",
    [
        ((1, 1), (640, 640)),
        ((96, 50), (576, 300)),
        ((360, 480), (360, 480)),
        ((641, 1280), (641, 1280)),
        ((1000, 2000), (640, 1280)),
        ((20_000, 3), (1280, 1)),
    ],
)
def test_pictures_fit_the_page(size, shown):
    rng = np.random.default_rng(0)
    class_ids = rng.choice(np.array([0, 3, 255], "uint8"), size)
    image = rng.integers(0, 256, (*size, 3), dtype="uint8")
    small, ids = at_shown_size(image, class_ids)
    assert small.shape == (*shown, 3) and ids.shape == shown
    assert {*np.unique(ids)} <= {*np.unique(class_ids)}
    if shown >= size:
        scale = shown[0] // size[0]
        np.testing.assert_array_equal(small[::scale, scale - 1 :: scale], image)
        np.testing.assert_array_equal(ids[scale - 1 :: scale, ::scale], class_ids)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_layers_blend_to_the_overlay(opacity):
    image = photo()
    class_ids = classes_of(image)
    class_ids[:, :40] = 255
    palette = palette_for(COLORS)
    below, *layers = map(opened, overlay_layers(image, class_ids, palette))
    blend = np.asarray(below, float)
    for layer in layers:
        layer = np.asarray(layer.convert("RGBA"), float)
        strength = opacity * layer[..., 3:] / 255
        blend += (layer[..., :3] - blend) * strength
    difference = np.abs(blend - overlay(image, class_ids, palette, opacity))
    assert difference.mean() < 2 and difference.max() < 40  # JPEG's, at the patches' edges
    if opacity == 1:
        assert difference[:, 48:].max() < 1


def test_result_shows_what_predict_writes(network, tmp_path):
    image = photo(90, 70)
    path = save(tmp_path / "p.png", image)
    predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    class_ids = classes_of(image)
    page = Elements(result_html('<i>"p".png', image, class_ids, 0.2345, CLASSES, COLORS))

    [link, polygons] = page.named("a")
    assert link["download"] == '<i>"p"_mask.png'
    mask = from_uri(link["href"])
    assert mask.mode == "P"
    np.testing.assert_array_equal(mask, class_ids)
    with Image.open(tmp_path / "out" / "p.png") as expected:
        assert mask.getpalette() == expected.getpalette()
        np.testing.assert_array_equal(mask, expected)

    assert polygons["download"] == '<i>"p".geojson'
    found = json.loads(base64.b64decode(polygons["href"].partition("base64,")[2]))
    areas = Counter()
    for feature in found["features"]:
        areas[feature["properties"]["class_id"]] += feature["properties"]["area"]
    assert areas == Counter(class_ids.ravel().tolist())

    shares = np.bincount(class_ids.ravel(), minlength=4) / class_ids.size
    order = np.argsort(-shares, kind="stable")
    legend = [text for text in page.text if text in CLASSES or text.endswith("%")]
    assert legend == [text for k in order for text in (CLASSES[k], f"{100 * shares[k]:.1f} %")]
    chips = [attributes["style"] for attributes in page.named("li")]
    for chip, k in zip(chips, order, strict=True):
        assert f"rgb{COLORS[k]};" in chip
    assert "70 × 90 pixels" in "".join(page.text) and "235 ms" not in page.text
    assert all("alt" in attributes for attributes in page.named("img"))
    [overlay_stage] = [a for a in page.named("div") if a.get("role") == "img"]
    assert all(name in overlay_stage["aria-label"] for name in CLASSES)
    assert not page.named("i") and not page.named("b")[1:]


def test_polygons_of_noise_are_left_out():
    class_ids = np.indices((400, 400)).sum(0).astype("uint8") % 2
    image = np.zeros((400, 400, 3), "uint8")
    page = Elements(result_html("p.png", image, class_ids, 0.1, CLASSES, COLORS))
    assert [link["download"] for link in page.named("a")] == ["p_mask.png"]


def doubts(height, width, places):
    """Probabilities of four classes: certain but for places, where two classes are near."""
    found = np.zeros((height, width, 4), "float32")
    found[..., 0] = 1
    for rows, columns, first, second, most in places:
        found[rows, columns] = 0
        found[rows, columns, first], found[rows, columns, second] = most, 1 - most
    return found


def test_the_least_certain_places():
    spots = [
        (slice(30, 46), slice(100, 116), 2, 1, 0.55),
        (slice(90, 106), slice(20, 36), 3, 2, 0.75),
        (slice(5, 6), slice(0, 160), 1, 0, 0.51),  # an edge: a line of doubt, but no place
    ]
    found = least_certain(doubts(128, 160, spots))
    assert [place.box for place in found[:2]] == [(100, 30, 16, 16), (20, 90, 16, 16)]
    assert [place.classes for place in found[:2]] == [(2, 1), (3, 2)]
    np.testing.assert_allclose(found[0].probabilities, [0.55, 0.45], atol=1e-5)
    assert len(found) == 2  # the mean doubt at the edge is 0.49 / 16
    assert least_certain(doubts(40, 40, [])) == []
    boxes = [place.box for place in least_certain(np.full((20, 90, 4), 0.25, "float32"))]
    assert len(boxes) == 3 and len({x // 8 for x, *_ in boxes}) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (8, 8), (9, 200)])
def test_places_lie_in_small_images_too(size):
    for (x, y, w, h), *_ in least_certain(np.full((*size, 4), 0.25, "float32")):
        assert 0 <= x <= x + w <= size[1] and 0 <= y <= y + h <= size[0] and w == h > 0


def test_result_shows_the_confidence():
    probabilities = doubts(128, 160, [(slice(30, 46), slice(100, 116), 2, 1, 0.6)])
    class_ids, image = probabilities.argmax(-1).astype("uint8"), np.zeros((128, 160, 3), "uint8")
    page = Elements(result_html("p.png", image, class_ids, 0.1, CLASSES, COLORS, probabilities))
    pictures = [from_uri(image["src"]) for image in page.named("img")]
    confidence = np.asarray([picture for picture in pictures if picture.mode == "L"][0])
    np.testing.assert_array_equal(confidence, np.rint(255 * probabilities.max(-1)))
    frames = [span["style"] for span in page.named("span") if span.get("class") == "fcn-place"]
    frame = "--x: 62.500%; --y: 23.438%; --w: 10.000%; --h: 12.500%"
    assert frames == [frame, frame]  # over the image, and over the confidence
    text = " ".join(page.text)
    assert f"{CLASSES[2]} 60 %, {CLASSES[1]} 40 %" in text and "99.5 % on average" in text


def test_shares_that_round_to_nothing():
    class_ids = np.zeros((100, 100), "uint8")
    class_ids[0, 0] = 1
    image = np.zeros((100, 100, 3), "uint8")
    page = Elements(result_html("p.png", image, class_ids, 0.1, CLASSES, COLORS))
    assert "<0.1 %" in page.text and "100.0 %" in page.text


@pytest.mark.parametrize(
    "error, message",
    [
        (UserError("x.png: is <b>wrong</b>."), "x.png: is <b>wrong</b>."),
        (ServerError("http://server: is away."), "http://server: is away."),
        (MemoryError(), "p.png: takes more memory than there is. Make it smaller."),
    ],
)
def test_what_goes_wrong_is_said_on_the_page(run, monkeypatch, error, message):
    segmenter = open_for_page(run)

    def fail(images):
        raise error

    monkeypatch.setattr(segmenter, "probabilities", fail)
    page, good = answer_html("p.png", photo, segmenter)
    page = Elements(page)
    assert not good and "".join(page.text) == message
    assert [name for name, _ in page.elements] == ["p"] and page.named("p")[0]["role"] == "alert"


def test_a_dozen_images_at_a_time(run, tmp_path):
    """Then the others are counted; each page has those before it."""
    paths = [save(tmp_path / f"{i}.png", photo(8, 8)) for i in range(14)]
    pages = [Elements(page) for page, good in answers_html(paths, open_for_page(run)) if good]
    assert [len(page.named("section")) for page in pages] == [*range(1, 13), 12]
    assert "2 more: the page takes 12 at a time." in pages[-1].text


def test_read_upload_turns_photos_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned.jpg", photo(30, 50), exif=exif)
    found = read_upload(path)
    assert found.shape == (50, 30, 3)
    np.testing.assert_array_equal(found, read_image(path))


def test_read_upload_refuses_by_name(tmp_path):
    for path, message in bad_files(tmp_path).items():
        with pytest.raises(UserError) as caught:
            read_upload(path)
        assert str(caught.value).startswith(message)
        assert str(tmp_path) not in str(caught.value)


def predicted(network, image, folder):
    predict(network, [save(folder / "p.png", image)], folder / "out", CLASSES, COLORS)
    with Image.open(folder / "out" / "p.png") as mask:
        return np.asarray(mask)


def test_open_a_run(network, run, tmp_path):
    image = photo()
    expected = predicted(network, image, tmp_path)
    assert len(np.unique(expected)) == 4
    segmenter = open_for_page(run)
    assert segmenter.name == "primary-colours"
    assert (segmenter.classes, segmenter.colors) == (CLASSES, COLORS)
    np.testing.assert_array_equal(segmenter.label([image]), [expected])
    scenes = list(examples_of(run).values())
    assert len(scenes) == 5
    np.testing.assert_array_equal(scenes[2], draw_scene(scene_rng("validation", 2))[0])


def test_open_a_keras_file(network, run, tmp_path):
    path = tmp_path / "lone.keras"
    shutil.copy(run / "best.keras", path)
    assert open_for_page(path).classes == ["class_0", "class_1", "class_2", "class_3"]
    (tmp_path / "names.json").write_text(json.dumps({"classes": CLASSES, "colors": COLORS}))
    segmenter = open_for_page(path, tmp_path / "names.json")
    assert (segmenter.classes, segmenter.colors, examples_of(path)) == (CLASSES, COLORS, {})
    (tmp_path / "names.json").write_text(json.dumps({"classes": CLASSES[:2]}))
    with pytest.raises(UserError, match="names 2 classes, and .* tells 4 apart"):
        open_for_page(path, tmp_path / "names.json")


def test_open_an_export(network, tmp_path):
    image = photo()
    expected = predicted(network, image, tmp_path)
    output = tmp_path / "served"
    export(network, output, [f"old {name}" for name in CLASSES], COLORS, version=9)
    export(network, output, CLASSES, COLORS, version=10)
    for path, classes in (
        (output, CLASSES),
        (output / "10", CLASSES),
        (output / "9", [f"old {name}" for name in CLASSES]),
    ):
        segmenter = open_for_page(path)
        assert segmenter.name == "served"
        assert (segmenter.classes, segmenter.colors) == (classes, COLORS)
        np.testing.assert_array_equal(segmenter.label([image]), [expected])
        assert examples_of(path) == {}


class Answering(Client):
    """Stands for a client of a server of the network."""

    num_classes, version = 4, "1"

    def label(self, files):
        if "refusing" in self.server:
            return [None for _ in files]
        if "broken" in self.server:
            raise ServerError(f"{self.server}: cannot be reached.")
        return [classes_of(np.asarray(opened(content))) for content in files]


def test_open_a_server(monkeypatch, network, run, tmp_path):
    monkeypatch.setattr("fcn_keras.client.client.Client", Answering)
    server = "http://server:8501/v1/models/"
    image = photo()
    segmenter = open_for_page(server + "roads")
    np.testing.assert_array_equal(segmenter.label([image]), [predicted(network, image, tmp_path)])
    assert segmenter.name == server + "roads"
    assert segmenter.classes == ["class_0", "class_1", "class_2", "class_3"]
    assert open_for_page(server + "roads", run).classes == CLASSES
    assert examples_of(server + "roads") == {}
    for name, message in (
        ("refusing", "p.png: is refused by the server."),
        ("broken", f"{server}broken: cannot be reached."),
    ):
        page, good = answer_html("p.png", photo, open_for_page(server + name))
        assert not good and "".join(Elements(page).text) == message
    with pytest.raises(UserError, match="^URL: must be like"):
        open_for_page("ftp://server")


def test_examples_of_a_folder(run, make_folder, tmp_path):
    folder = make_folder(tmp_path / "data", train=1, val=12)
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    about = json.loads((run / "config.json").read_text()) | {"settings": {"dataset": str(folder)}}
    (copy / "config.json").write_text(json.dumps(about))
    examples = examples_of(copy)
    assert len(examples) == 5
    for name, image in examples.items():
        np.testing.assert_array_equal(image, read_image(folder / "val" / f"{name}.png"))
    (folder / "val" / f"{next(iter(examples))}.png").write_bytes(b"gone bad")
    assert examples_of(copy) == {}
    shutil.rmtree(folder)
    assert examples_of(copy) == {}


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="or the URL of a server"):
        open_for_page(tmp_path)
    with pytest.raises(UserError, match="nothing of that name"):
        open_for_page(tmp_path / "nowhere")
    deep = keras.Input((None, None, 6))
    keras.Model(deep, keras.layers.Conv2D(2, 1)(deep)).save(tmp_path / "deep.keras")
    with pytest.raises(UserError, match=r"takes images of \(None, None, 6\)"):
        open_for_page(tmp_path / "deep.keras")


def test_a_port_in_use_is_an_error(run_command, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run_command("demo", run, "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --port: 127.0.0.1:{port} cannot be listened at: Address already")
    assert err.count("\n") == 1
    code, out, err = run_command("demo", run, "--port", 70_000)
    assert (code, err) == (2, "error: --port: must be from 0 up to 65535. Received: 70000.\n")
    code, out, err = run_command("demo", run, "--host", "192.0.2.1")  # nobody's, by RFC 5737
    assert code == 2 and err.startswith("error: --port: 192.0.2.1:7860 cannot be listened at")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_without_gradio_its_extra_is_named(run_command, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    code, out, err = run_command("demo", run, "--port", free_port())
    assert (code, out) == (2, "")
    assert err.startswith('error: demo: needs Gradio: pip install "fcn_keras[demo]".')
    assert err.count("\n") == 1


# The command, in a process that notes where it connects to. What starts tests in the background
# may have it ignore Ctrl-C.
LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
connected = open(sys.argv.pop(1), "a", buffering=1)
def note(event, args):
    if event in ("socket.connect", "socket.sendto"):
        print(args[1], file=connected)
    elif event == "socket.getaddrinfo":
        print(args[:2], file=connected)
sys.addaudithook(note)
from fcn_keras.cli import main
sys.exit(main())
"""


@pytest.fixture
def served(run, tmp_path):
    """The page, served by a second process; gives its address, that process and its folders."""
    pytest.importorskip("gradio")
    port = free_port()
    folders = {name: tmp_path / name for name in ("cwd", "tmp", "home")}
    for folder in folders.values():
        folder.mkdir()
    connected = tmp_path / "connected"
    environment = os.environ | {
        "TMPDIR": str(folders["tmp"]),
        "HOME": str(folders["home"]),
        "KERAS_HOME": str(tmp_path / "keras"),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        "PYTHONPATH": os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH")))),
        # Where nothing answers: what is meant for another host goes there.
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-c", LAUNCH, connected, "demo", run, "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=folders["cwd"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        address = f"http://127.0.0.1:{port}"
        if line != f"primary-colours on {address} (Ctrl-C ends it)\n":
            process.kill()
            pytest.fail(f"{line}{process.stderr.read()}")
        yield address, process, folders, connected
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def browser(tmp_path):
    """Headless Chromium, which notes requests and what goes to its console."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "force-device-scale-factor=1",
        "window-size=1200,1000",
        f"user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    downloads = {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
    yield driver
    driver.quit()


DROP = """
const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], arguments[2], {type: "image/jpeg"}));
const options = {dataTransfer: data, bubbles: true, cancelable: true};
arguments[0].parentElement.dispatchEvent(new DragEvent("drop", options));
"""


def test_the_page_in_a_browser(served, browser, tmp_path):
    address, process, folders, connected = served
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    # The page may replace an element between its being found and being looked at.
    wait = WebDriverWait(browser, 60, ignored_exceptions=[StaleElementReferenceException])
    requests = []

    def until(look):
        """Looks until there is something to see, and returns it."""
        return wait.until(lambda _: look())

    def new_requests():
        entries = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
        urls = [
            e["params"].get("request", e["params"])["url"]
            for e in entries
            if e["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        new = [url for url in urls if urlsplit(url).scheme not in ("data", "blob", "chrome")]
        requests.extend(new)
        return new

    def all_of(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(selector):
        # In one step: an element that was found may be replaced before it is asked for its text.
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())"
        return browser.execute_script(script, selector)

    def send(path, drop=False):
        [place] = until(lambda: all_of("input[type=file]"))
        if drop:
            browser.execute_script(
                DROP, place, base64.b64encode(path.read_bytes()).decode(), path.name
            )
        else:
            place.send_keys(str(path))

    def shown(name):
        """Waits for the result for an image."""
        until(lambda: name in texts(".fcn-facts b"))
        until(
            lambda: browser.execute_script(
                "return [...document.images].every(i => i.complete && i.naturalWidth)"
            )
        )

    def looks_like(image, opacity):
        [stage] = all_of(".fcn-overlay .fcn-stage")
        seen = opened(stage.screenshot_as_png).convert("RGB")
        scale = 640 // max(image.shape)
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        tinted = overlay(large, classes_of(large), palette_for(COLORS), opacity)
        expected = Image.fromarray(tinted).resize(seen.size, Image.BILINEAR)
        difference = np.abs(np.asarray(seen, float) - np.asarray(expected, float))
        # Round corners; edges that are scaled otherwise.
        difference = difference[12:-12, 12:-12]
        return difference.mean() < 4 and np.percentile(difference, 90) < 8

    def assert_page_is_fine(image, name):
        shown(name)
        until(lambda: looks_like(image, 0.5))
        assert not all_of(".fcn-fault")
        shares = np.bincount(classes_of(image).ravel(), minlength=4)
        assert texts(".fcn-legend .fcn-name") == [
            CLASSES[k] for k in np.argsort(-shares, kind="stable")
        ]

    browser.get(address)
    until(lambda: all_of("input[type=file]"))
    assert texts(".fcn-legend .fcn-name") == CLASSES

    # A photograph: overlay, legend, facts.
    image = photo()
    send(save(tmp_path / "first.png", image))
    assert_page_is_fine(image, "first.png")
    assert "160 × 120 pixels" in texts(".fcn-facts")[0]

    # The slider: the overlay changes, and nobody is asked.
    new_requests()
    [slider] = all_of("input[type=range]")
    slider.send_keys(Keys.END)
    until(lambda: looks_like(image, 1.0))
    slider.send_keys(Keys.HOME)
    until(lambda: looks_like(image, 0.0))
    [reset] = all_of("[data-testid=reset-button]")
    reset.click()
    until(lambda: looks_like(image, 0.5))
    assert new_requests() == []

    # The mask.
    all_of(".fcn-download")[0].click()
    path = tmp_path / "downloads" / "first_mask.png"
    until(path.exists)
    with Image.open(path) as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(mask, classes_of(image))

    # The polygons, and how certain it is.
    all_of(".fcn-download")[1].click()
    path = tmp_path / "downloads" / "first.geojson"
    until(path.exists)
    found = [feature["properties"] for feature in json.loads(path.read_text())["features"]]
    assert sum(region["area"] for region in found) == 120 * 160
    assert len(all_of(".fcn-confidence img")) == 1
    places = texts(".fcn-places li")
    assert len(all_of(".fcn-place")) == 2 * len(places) and all("%" in text for text in places)

    # Several images in a row, one of which is none.
    inputs = [save(tmp_path / f"row {i}.png", photo(40, 50 + 10 * i, seed=i)) for i in range(3)]
    [place] = until(lambda: all_of("input[type=file]"))
    place.send_keys("\n".join(map(str, [*inputs[:2], [*bad_files(tmp_path)][0], inputs[2]])))
    until(lambda: len(all_of(".fcn-result")) == 3)
    assert texts(".fcn-facts b") == [path.name for path in inputs]
    assert len(all_of("[role=alert]")) == 1
    widths = [int(facts.partition(": ")[2].split()[0]) for facts in texts(".fcn-facts p")]
    assert widths == [50, 60, 70]

    # Garbage: one message each, and the page goes on.
    for path, message in bad_files(tmp_path).items():
        send(path)
        until(
            lambda m=message: (
                [text.startswith(m) for text in texts("[role=alert]")] == [True]
                and not all_of(".fcn-result")
            )
        )
    image = photo(80, 100, seed=1)
    path = save(tmp_path / "second.jpg", image, quality=100, subsampling=0)
    send(path, drop=True)
    assert_page_is_fine(read_image(path), "second.jpg")

    # An example.
    [*examples] = all_of(".fcn-examples button")
    assert len(examples) == 5
    assert examples[1].find_element(By.TAG_NAME, "img").get_attribute("alt") == "scene 2"
    examples[1].click()
    shown("scene 2")

    # In the dark, and on a phone.
    for name, value in (("prefers-color-scheme", "dark"), ("prefers-color-scheme", "light")):
        feature = {"features": [{"name": name, "value": value}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        browser.refresh()
        until(lambda: all_of("input[type=file]"))
        text, ground = browser.execute_script(
            "return ['.fcn-name', 'body'].map(s => getComputedStyle(document.querySelector(s)))"
            ".map((s, i) => [s.color, s.backgroundColor][i].match(/[0-9]+/g).map(Number))"
        )
        contrast = np.mean(text[:3]) - np.mean(ground[:3])
        assert contrast > 150 if value == "dark" else contrast < -150
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    send(tmp_path / "second.jpg")
    shown("second.jpg")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    stages = [stage.rect for stage in all_of(".fcn-stage")]
    assert stages[1]["y"] > stages[0]["y"] + stages[0]["height"]
    assert all(stage["width"] > 250 for stage in stages)

    new_requests()
    assert {urlsplit(url).netloc for url in requests} == {urlsplit(address).netloc}
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []

    # Ctrl-C, with the page still open.
    assert list(folders["tmp"].glob("fcn-keras-demo-*"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "stopped\n")
    left = {name: [str(p) for p in folder.rglob("*")] for name, folder in folders.items()}
    assert left == {"cwd": [], "tmp": [], "home": []}
    outside = [
        line
        for line in connected.read_text().splitlines()
        if not line.startswith(f"('127.0.0.1', {urlsplit(address).port}")
    ]
    assert outside == []
