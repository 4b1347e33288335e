"""Image files in a TensorFlow graph: the pixels of `read_image`, and never an error."""

import functools
import time

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import bomb, bounded_files, clear_files, files_of_noise, turned_files

tf = pytest.importorskip("tensorflow")


@functools.cache
def graph():
    """`read_image` as one graph, as in a SavedModel."""
    from keras_cmsa.export.graph.images import read_image

    kinds = [tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64)]
    return tf.function(read_image, input_signature=kinds)


def graph_pixels(file, max_pixels=50_000_000):
    return graph()(tf.constant(file), tf.constant(max_pixels, tf.int64)).numpy()


NAMES = list(files_of_noise())


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_of_read_image(name):
    from keras_cmsa.preprocessing.reading import read_image

    file = files_of_noise()[name]
    np.testing.assert_array_equal(graph_pixels(file), read_image(file))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", turned_files())
def test_orientations_are_those_of_read_image(name):
    from keras_cmsa.preprocessing.reading import UPRIGHT, read_image

    file, turn = turned_files()[name]
    found = graph_pixels(file)
    np.testing.assert_array_equal(found, read_image(file))
    stored = tf.io.decode_image(file, 3).numpy()
    assert np.abs(found.astype(int) - UPRIGHT[turn](stored)).max() <= 3  # another transform


@pytest.mark.parametrize("name", clear_files())
def test_clear_levels_are_those_of_read_image(name):
    from keras_cmsa.preprocessing.reading import read_image

    file, _ = clear_files()[name]
    np.testing.assert_array_equal(graph_pixels(file), read_image(file))


@pytest.mark.parametrize("name", bounded_files())
def test_what_read_image_refuses_is_not_decoded(name):
    """Neither by the graph, and soon."""
    file, is_read = bounded_files()[name]
    started = time.process_time()
    assert (graph_pixels(file).size > 0) == is_read
    assert time.process_time() - started < 8  # of two threads, the graph's making included


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
