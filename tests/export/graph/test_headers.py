"""The walk to the EXIF block of a JPEG in a graph, and the count of its scans."""

import pytest
from image_files import encoded, turned_files

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export.graph.headers import count_scans, exif_segment, file_bytes


def data_of(file):
    return file_bytes(tf.constant(file))


def test_the_walk_ends_at_the_bound_at_exif_and_at_the_pixels():
    data = data_of(turned_files()["behind fill bytes"][0])  # JFIF, nine of them, EXIF
    for most, is_bounded in ((10, False), (11, True)):
        start, end, found = exif_segment(data, most)
        assert (end > start, bool(found)) == (is_bounded, is_bounded)
    start, end, is_bounded = exif_segment(data_of(turned_files()["in a comment"][0]), 100)
    assert start == end and is_bounded


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_scans_are_counted(photo, options):
    """One, or libjpeg's ten of colour; what only looks like the start of one is none."""
    file = encoded(photo, "JPEG", **options)
    assert count_scans(data_of(file)) == {True: 10, False: 1}["progressive" in options]
    likes = b"\xff\xda\0\x08\x02", b"\xff\xda\0\x09\x01", b"\xff\xda", b"\xff\xda\0\x08"
    assert count_scans(data_of(b"".join(likes))) == 0
