"""Image files in a TensorFlow graph: the pixels of `read_image`, and never an error."""

import functools

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import bomb, encoded
from PIL import Image

tf = pytest.importorskip("tensorflow")


@functools.cache
def graph():
    """`read_image` as one graph, as in a SavedModel."""
    from keras_cmsa.export.graph.images import read_image

    kinds = [tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64)]
    return tf.function(read_image, input_signature=kinds)


def graph_pixels(file, max_pixels=50_000_000):
    return graph()(tf.constant(file), tf.constant(max_pixels, tf.int64)).numpy()


@functools.cache
def files_of_noise():
    """What `read_image` and the graph must give the same pixels of, by name."""
    photo = np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")
    rng = np.random.default_rng(1)
    grey = Image.fromarray(photo[..., 0])
    colour = Image.fromarray(photo)
    clear = Image.fromarray(np.concatenate([photo, photo[..., :1]], axis=-1))
    palette = colour.quantize(32)
    deep = Image.fromarray(rng.integers(0, 65536, (12, 9)).astype("uint16"))
    smooth = colour.resize((94, 62))
    files = {
        "png grey": encoded(grey),
        "png palette": encoded(palette),
        "png palette, one transparent": encoded(palette, transparency=3),
        "png grey, one transparent": encoded(grey, transparency=int(photo[0, 0, 0])),
        "png colour, one transparent": encoded(colour, transparency=tuple(map(int, photo[4, 4]))),
        "png transparent": encoded(clear),
        "png grey, transparent": encoded(clear.convert("LA")),
        "png of two": encoded(grey.convert("1")),
        "png 16 bits": encoded(deep),
        "jpeg": encoded(smooth, "JPEG"),
        "jpeg progressive": encoded(smooth, "JPEG", progressive=True, quality=95),
        "jpeg not subsampled": encoded(smooth, "JPEG", subsampling=0),
        "jpeg grey": encoded(grey, "JPEG"),
        "bmp": encoded(colour, "BMP"),
        "bmp grey": encoded(grey, "BMP"),
        "gif": encoded(palette, "GIF"),
        "gif grey": encoded(grey, "GIF"),
        "gif transparent": encoded(palette, "GIF", transparency=5),
        "gif of three": encoded(
            palette, "GIF", save_all=True, append_images=[palette.rotate(180), palette.rotate(90)]
        ),
    }
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        exif[0x010F] = "maker"
        files[f"jpeg turned {turn}"] = encoded(smooth, "JPEG", exif=exif)
        files[f"png turned {turn}"] = encoded(colour, exif=exif)
    return files


NAMES = list(files_of_noise())


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_of_read_image(name):
    from keras_cmsa.preprocessing.reading import read_image

    file = files_of_noise()[name]
    np.testing.assert_array_equal(graph_pixels(file), read_image(file))


def test_real_photos(samples):
    from keras_cmsa.preprocessing.reading import read_image

    paths = sorted((samples / "refer").rglob("*.jpg"))[:8]
    assert len(paths) == 8
    for path in paths:
        np.testing.assert_array_equal(graph_pixels(path.read_bytes()), read_image(path))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), st.data())
def test_a_damaged_file_gives_pixels_or_none(name, data):
    """Never an error, which would take the whole batch with it."""
    file = bytearray(files_of_noise()[name])
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = bytes(file[: data.draw(st.integers(0, len(file)))])
    assert graph_pixels(file, max_pixels=100_000).shape[-1] == 3


def test_images_larger_than_allowed_are_not_decoded():
    file = files_of_noise()["png palette"]
    assert graph_pixels(file, max_pixels=31 * 47).shape == (31, 47, 3)
    assert graph_pixels(file, max_pixels=31 * 47 - 1).shape == (0, 0, 3)
    assert graph_pixels(bomb()).shape == (0, 0, 3)


@pytest.mark.parametrize("resizing", ["pad", "stretch"])
def test_a_batch_on_the_square(resizing):
    """What cannot be read is 0 all over, of the square's size, and marked."""
    from keras_cmsa.export.graph.images import read_images
    from keras_cmsa.preprocessing.preprocessor import Preprocessor
    from keras_cmsa.preprocessing.reading import read_image

    files = [files_of_noise()[name] for name in ("jpeg", "png turned 6")]
    given = tf.constant([files[0], b"text", files[1]])
    images, sizes, readable = read_images(given, 24, 50_000_000, resizing)
    preprocessor = Preprocessor(tiny.vocabulary(), 24, resizing)
    assert readable.numpy().tolist() == [True, False, True]
    assert sizes.numpy().tolist() == [[62, 94], [24, 24], [47, 31]]
    assert not images.numpy()[1].any()
    for found, file in zip(images.numpy()[::2], files):
        wanted = preprocessor.image(read_image(file))
        np.testing.assert_allclose(found, wanted, atol=1e-4)
