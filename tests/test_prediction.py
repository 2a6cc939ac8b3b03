import keras
import numpy as np
import pytest
from PIL import Image

from fcn_keras import UserError
from fcn_keras.data.images import read_image
from fcn_keras.palette import overlay, palette_for, side_by_side
from fcn_keras.prediction import find_images, make_segmenter, predict

CLASSES = ["ground", "cat", "dog", "bird"]
COLORS = [(1, 2, 3), (250, 0, 9), (0, 255, 70), (128, 64, 32)]


@pytest.fixture(scope="module")
def network():
    """A network whose scores are exact, so that no rounding decides between two classes."""
    rng = np.random.default_rng(0)
    image = keras.Input((None, None, 3))
    conv = keras.layers.Conv2D(4, 3, padding="same")
    model = keras.Model(image, conv(image))
    kernel = rng.integers(-3, 4, (3, 3, 3, 4))
    kernel -= np.roll(kernel, 1, axis=0)  # its sum is 0, so brightness favours no class
    # Products of whole numbers, and fractions that tell the classes apart: never a tie.
    conv.set_weights([kernel, np.arange(4) / 8])
    return model


def photo(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype="uint8")


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def classes_of(network, image):
    return np.asarray(network(image[None]))[0].argmax(axis=-1)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_predict_writes_a_label_map_and_two_pictures(network, tmp_path):
    paths = [
        save(tmp_path / "in" / "one.png", photo(23, 31)),
        save(tmp_path / "in" / "two.three.JPG", photo(40, 17, 1)),
    ]
    output = tmp_path / "not" / "yet"
    written = predict(network, paths, str(output), CLASSES, COLORS)
    assert written == [output / "one.png", output / "two.three.png"]
    assert names(output) == [
        f"{stem}{suffix}.png"
        for stem in ("one", "two.three")
        for suffix in ("", "_overlay", "_side_by_side")
    ]
    palette = palette_for(COLORS)
    for path in paths:
        image = read_image(path)
        expected = classes_of(network, image)
        assert len(np.unique(expected)) == 4
        with Image.open(output / f"{path.stem}.png") as labels:
            assert labels.mode == "P"
            np.testing.assert_array_equal(np.asarray(labels), expected)
            np.testing.assert_array_equal(
                np.asarray(labels.convert("RGB")), np.array(COLORS)[expected]
            )
        with Image.open(output / f"{path.stem}_overlay.png") as picture:
            np.testing.assert_array_equal(picture, overlay(image, expected, palette))
        with Image.open(output / f"{path.stem}_side_by_side.png") as picture:
            page = side_by_side(image, expected, palette, CLASSES)
            assert picture.size == page.size
            np.testing.assert_array_equal(picture, page)


def test_label_maps_lie_upright(network, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    path = save(tmp_path / "turned.jpg", photo(20, 30), exif=exif)
    [written] = predict(network, [path], tmp_path / "out", CLASSES, COLORS)
    with Image.open(written) as labels:
        assert labels.size == (20, 30)  # width, height
        np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))


def test_a_folder_goes_in(network, tmp_path):
    for name in ("b.png", "a.jpg", "c.bmp"):
        save(tmp_path / "in" / name, photo(9, 8))
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    written = predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)
    assert [path.name for path in written] == ["a.png", "b.png", "c.png"]


def test_predictions_are_replaced(network, tmp_path):
    for size in ((9, 8), (12, 5)):
        path = save(tmp_path / "in" / "a.png", photo(*size))
        [written] = predict(network, [path], tmp_path / "out", CLASSES, COLORS)
        with Image.open(written) as labels:
            np.testing.assert_array_equal(labels, classes_of(network, read_image(path)))


def test_a_broken_image_does_not_stop_the_others(network, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "c.jpg", "e.png"):
        save(folder / name, photo(9, 8))
    content = save(folder / "b.jpg", photo(90, 80)).read_bytes()
    (folder / "b.jpg").write_bytes(content[: len(content) // 2])
    (folder / "d.png").write_text("no image")
    with pytest.raises(UserError, match="3 of 5 images") as caught:
        predict(network, [folder], output, CLASSES, COLORS)
    message = str(caught.value)
    assert str(folder / "b.jpg") in message and str(folder / "d.png") in message
    assert not any(str(folder / name) in message for name in ("a.png", "c.jpg", "e.png"))
    assert [name for name in names(output) if "_" not in name] == ["a.png", "c.png", "e.png"]
    assert len(names(output)) == 9


def test_two_images_of_one_stem_are_refused(network, tmp_path):
    first = save(tmp_path / "in" / "cat.png", photo(9, 8))
    second = save(tmp_path / "also" / "cat.jpg", photo(9, 8))
    with pytest.raises(UserError) as caught:
        predict(network, [first.parent, second], tmp_path / "out", CLASSES, COLORS)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_stem_that_would_meet_the_picture_of_another_is_refused(network, tmp_path):
    # cat.png's overlay would be written over the label map of cat_overlay.png, or under it.
    for name in ("cat.png", "cat_overlay.png"):
        save(tmp_path / "in" / name, photo(9, 8))
    with pytest.raises(UserError, match="cat_overlay"):
        predict(network, [tmp_path / "in"], tmp_path / "out", CLASSES, COLORS)
    assert not (tmp_path / "out").exists()


def test_an_image_is_never_overwritten_by_its_label_map(network, tmp_path):
    path = save(tmp_path / "cat.png", photo(9, 8))
    before = path.read_bytes()
    with pytest.raises(UserError, match="cat.png"):
        predict(network, [path], tmp_path, CLASSES, COLORS)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["cat.png"]


def test_output_must_be_a_folder(network, tmp_path):
    path = save(tmp_path / "in" / "a.png", photo(9, 8))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is not a folder"):
        predict(network, [path], tmp_path / "file", CLASSES, COLORS)


def test_find_images(tmp_path):
    for name in ("in/b.png", "in/A.JPEG", "in/c.gif", "in/d.tif", "other/z.webp"):
        save(tmp_path / name, photo(3, 3))
    (tmp_path / "in" / "a.txt").touch()
    (tmp_path / "in" / "deeper").mkdir()
    single = save(tmp_path / "e.tif", photo(3, 3))
    found = find_images([str(tmp_path / "other"), single, tmp_path / "in"])
    assert [path.name for path in found] == ["z.webp", "e.tif", "A.JPEG", "b.png", "c.gif"]


def test_find_images_says_what_is_wrong(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"empty: holds no images \(.*\.jpg"):
        find_images([tmp_path / "empty"])
    with pytest.raises(UserError, match="absent: no such file or folder"):
        find_images([tmp_path / "absent"])
    with pytest.raises(UserError, match="No images"):
        find_images([])


def test_segmenter_is_traced_once(network):
    traces = 0

    class Counting(keras.layers.Layer):
        def call(self, image):
            nonlocal traces
            traces += 1
            return image

    image = keras.Input((None, None, 3))
    segment = make_segmenter(keras.Model(image, network(Counting()(image))))
    traces = 0
    for count, height, width in ((1, 7, 9), (2, 20, 5), (1, 1, 1)):
        images = np.stack([photo(height, width, seed) for seed in range(count)])
        class_ids = segment(images).numpy()
        assert class_ids.dtype == np.uint8
        for found, one in zip(class_ids, images, strict=True):
            np.testing.assert_array_equal(found, classes_of(network, one))
    assert traces == 1
