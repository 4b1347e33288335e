"""What stands in headers, read in a graph: whatever the bytes, an answer and no error."""

import io

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

tf = pytest.importorskip("tensorflow")


def data_of(file):
    from keras_cmsa.export.graph.headers import file_bytes

    return file_bytes(tf.constant(file))


def test_numbers_of_both_orders():
    from keras_cmsa.export.graph.headers import number

    data = data_of(b"\x01\x02\x03\xff")
    assert number(data, 0, 2, True).numpy() == 0x0201
    assert number(data, [0, 1], 2, False).numpy().tolist() == [0x0102, 0x0203]
    assert number(data, 0, 4, False).numpy() == 0x010203FF
    # Beyond the end is the 0 that was put there.
    assert number(data, 100, 4, True).numpy() == 0


def test_bytes_that_start_a_format():
    from keras_cmsa.export.graph.headers import starts_with

    data = data_of(b"GIF89a")
    assert starts_with(data, 3, b"89a") and not starts_with(data, 3, b"87a")
    assert not starts_with(data, 5, b"abc")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("turn", [1, 6, 8])
def test_orientation(photo, kind, turn):
    from keras_cmsa.export.graph import headers

    exif = Image.Exif()
    exif[0x0112] = turn
    data = data_of(encoded(photo, kind, exif=exif))
    walk = headers.segments_of_jpeg if kind == "JPEG" else headers.chunks_of_png
    start, end, parts, *transparent = walk(data)
    assert end > start and not any(transparent) and 3 <= parts <= 12
    assert headers.orientation(data, start, end).numpy() == turn
    without = data_of(encoded(photo, kind))
    start, end, *_ = walk(without)
    assert start == end and headers.orientation(without, start, end).numpy() == 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_scans_are_counted(photo, options):
    """One, or libjpeg's ten of colour; what only looks like the start of one is none."""
    from keras_cmsa.export.graph.headers import count_scans

    file = encoded(photo, "JPEG", **options)
    assert count_scans(data_of(file)) == {True: 10, False: 1}["progressive" in options]
    likes = b"\xff\xda\0\x08\x02", b"\xff\xda\0\x09\x01", b"\xff\xda", b"\xff\xda\0\x08"
    assert count_scans(data_of(b"".join(likes))) == 0


def test_a_broken_exif_block_spoils_no_pixel(photo):
    from keras_cmsa.export.graph.images import read_image

    def pixels(file):
        return read_image(tf.constant(file), 10_000).numpy()

    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(photo, "JPEG", exif=exif)
    start = file.index(b"Exif\0\0") + 6
    plain = pixels(encoded(photo, "JPEG"))
    assert pixels(file).shape == (47, 31, 3)
    for offset in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)):
        broken = file[: start + 4] + offset + file[start + 8 :]
        np.testing.assert_array_equal(pixels(broken), plain)


def test_the_first_frame_of_a_gif(photo):
    from keras_cmsa.export.graph.headers import first_frame_of_gif

    palette = Image.fromarray(photo).quantize(8)
    options = {"save_all": True, "append_images": [palette.rotate(180)]}
    file = encoded(palette, "GIF", **options)
    frame = {name: int(place) for name, place in first_frame_of_gif(data_of(file)).items()}
    assert file[frame["image"] : frame["image"] + 1] == b"," and file[frame["end"] - 1] == 0
    alone = Image.open(io.BytesIO(file[: frame["end"]] + b";"))
    assert alone.n_frames == 1 and alone.size == (47, 31)
    assert int(first_frame_of_gif(data_of(file[:200]))["end"]) == -1
