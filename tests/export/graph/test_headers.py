"""What stands in headers, read in a graph: whatever the bytes, an answer and no error."""

import pytest
from image_files import encoded, turned_files

tf = pytest.importorskip("tensorflow")


def data_of(file):
    from keras_cmsa.export.graph.headers import file_bytes

    return file_bytes(tf.constant(file))


def test_numbers_of_both_orders():
    from keras_cmsa.export.graph.headers import number

    data = data_of(b"\x01\x02\x03\xff")
    assert number(data, 0, 2, True).numpy() == 0x0201
    assert number(data, [0, 1], 2).numpy().tolist() == [0x0102, 0x0203]
    assert number(data, 0, 4).numpy() == 0x010203FF
    # Beyond the end is the 0 that was put there.
    assert number(data, 100, 4, True).numpy() == 0


@pytest.mark.parametrize("name", [name for name in turned_files() if not name.startswith("png")])
def test_orientation(name):
    from keras_cmsa.export.graph.headers import exif_segment, orientation

    file, turn = turned_files()[name]
    data = data_of(file)
    start, end, is_bounded = exif_segment(data, 100)
    assert is_bounded and orientation(data, start, end) == turn


def test_the_walk_ends_at_the_bound_at_exif_and_at_the_pixels():
    from keras_cmsa.export.graph.headers import exif_segment

    data = data_of(turned_files()["behind fill bytes"][0])  # JFIF, nine of them, EXIF
    for most, is_bounded in ((10, False), (11, True)):
        start, end, found = exif_segment(data, most)
        assert (end > start, bool(found)) == (is_bounded, is_bounded)
    start, end, is_bounded = exif_segment(data_of(turned_files()["in a comment"][0]), 100)
    assert start == end and is_bounded


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_scans_are_counted(photo, options):
    """One, or libjpeg's ten of colour; what only looks like the start of one is none."""
    from keras_cmsa.export.graph.headers import count_scans

    file = encoded(photo, "JPEG", **options)
    assert count_scans(data_of(file)) == {True: 10, False: 1}["progressive" in options]
    likes = b"\xff\xda\0\x08\x02", b"\xff\xda\0\x09\x01", b"\xff\xda", b"\xff\xda\0\x08"
    assert count_scans(data_of(b"".join(likes))) == 0
