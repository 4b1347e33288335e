"""Image files in a TensorFlow graph: the pixels of `read_image`, and never an error."""

import functools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import (
    SMALL,
    bomb,
    bounded_files,
    clear_files,
    encoded,
    exif,
    files_of_noise,
    segment,
    turned_files,
    with_parts,
)

from keras_cmsa.preprocessing.reading import read_image

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export.graph import images


@functools.cache
def graph():
    """`read_image` as one graph, as in a SavedModel."""
    kinds = [tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64)]
    return tf.function(images.read_image, input_signature=kinds)


def graph_pixels(file, max_pixels=50_000_000):
    return graph()(tf.constant(file), tf.constant(max_pixels, tf.int64)).numpy()


ALIKE = {
    **files_of_noise(),
    **{f"turned, {name}": file for name, (file, _) in turned_files().items()},
    **{f"clear, {name}": file for name, (file, _) in clear_files().items()},
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Metadata Warning")
@pytest.mark.parametrize("name", ALIKE)
def test_pixels_are_those_of_read_image(name):
    found = graph_pixels(ALIKE[name])
    assert found.size
    np.testing.assert_array_equal(found, read_image(ALIKE[name]))


def test_real_photos(samples):
    paths = sorted((samples / "refer").rglob("*.jpg"))[:8]
    assert len(paths) == 8
    for path in paths:
        np.testing.assert_array_equal(graph_pixels(path.read_bytes()), read_image(path))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP"])
def test_other_formats_are_not_read(kind):
    assert graph_pixels(encoded(SMALL, kind)).shape == (0, 0, 3)


@pytest.mark.parametrize("name", bounded_files())
def test_what_would_take_too_long_is_not_decoded(name):
    file, is_read, _ = bounded_files()[name]
    graph()
    started = time.process_time()
    assert (graph_pixels(file).size > 0) == is_read
    assert time.process_time() - started < 8  # of two threads, the graph's making included


def test_a_request_of_files_that_would_take_long(photo):
    """Eight of 20 kB; the photo among them is read, and each may have a share of the parts."""
    kinds = [tf.TensorSpec((None,), tf.string)]
    read = tf.function(
        lambda files: images.read_images(files, 24, 50_000_000)[1:], input_signature=kinds
    )
    small, turned = encoded(SMALL, "JPEG"), segment(0xE1, b"Exif\0\0" + exif(6))
    hostile, fair, beyond = (with_parts(small, b"\xff" * n + turned) for n in (20_000, 110, 130))
    _, readable = read([beyond])
    assert readable.numpy().tolist() == [True]
    started = time.process_time()
    sizes, readable = read([hostile] * 5 + [encoded(photo, "JPEG"), fair, beyond])
    assert time.process_time() - started < 1
    assert readable.numpy().tolist() == [False] * 5 + [True, True, False]
    assert sizes.numpy()[5:7].tolist() == [[31, 47], [12, 8]]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(files_of_noise())), st.data())
def test_a_damaged_file_gives_pixels_or_none(name, data):
    """Never an error, which would take the whole batch with it."""
    file = bytearray(files_of_noise()[name])
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = bytes(file[: data.draw(st.integers(0, len(file)))])
    assert graph_pixels(file, max_pixels=100_000).shape[-1] == 3


@pytest.mark.parametrize("cut", [1, 8, 12, 14])
def test_a_png_cut_behind_its_pixels_is_read_by_neither(cut):
    file = encoded(SMALL)[:-cut]
    assert graph_pixels(file).shape == (0, 0, 3)
    with pytest.raises(ValueError, match="image file is truncated. It may be damaged or cut"):
        read_image(file)


def test_images_larger_than_allowed_are_not_decoded():
    file = files_of_noise()["png palette"]
    assert graph_pixels(file, max_pixels=31 * 47).shape == (31, 47, 3)
    assert graph_pixels(file, max_pixels=31 * 47 - 1).shape == (0, 0, 3)
    assert graph_pixels(bomb()).shape == (0, 0, 3)
