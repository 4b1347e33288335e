"""Pixels: reading equals TensorFlow's decoder, every kind of file gives upright RGB, fits undo."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_cmsa.image import (
    FITS,
    fit_mask,
    padded_geometry,
    read_image,
    resize_and_pad,
    resize_bilinear,
    undo_resize_and_pad,
)

UPRIGHT = np.arange(8 * 12 * 3).reshape(8, 12, 3).astype("uint8") * np.uint8(7)

# How the EXIF standard stores an upright picture: where its first row and first column lie.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


def photo(height, width, seed=0):
    """A colourful picture with edges and slopes: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3))
    slope = np.linspace(0, 60, width)[np.newaxis, :, np.newaxis]
    blocks = np.repeat(np.repeat(blocks, 9, axis=0), 9, axis=1)[:height, :width]
    return np.clip(blocks * 0.75 + slope, 0, 255).astype("uint8")


def saved(image, **options):
    """The bytes of a file: lossless PNG unless told otherwise."""
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


def decoded_by_tensorflow(data):
    tf = pytest.importorskip("tensorflow")
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()


# --- reading


def test_real_photos_equal_tensorflows_decoder(samples):
    photos = sorted(samples.glob("refer/images/mscoco/images/train2014/*.jpg"))
    assert len(photos) == 72
    for path in photos:
        np.testing.assert_array_equal(read_image(path), decoded_by_tensorflow(path.read_bytes()))


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 30},
        {"quality": 95, "subsampling": 0},
        {"quality": 80, "subsampling": 1},
        {"progressive": True},
        {"optimize": True, "restart_marker_rows": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(64, 96), (33, 57), (1, 1)])
def test_made_jpegs_equal_tensorflows_decoder(options, size):
    data = saved(Image.fromarray(photo(*size)), format="JPEG", **options)
    np.testing.assert_array_equal(read_image(data), decoded_by_tensorflow(data))


def test_grey_jpeg_equals_tensorflows_decoder():
    data = saved(Image.fromarray(photo(40, 50)).convert("L"), format="JPEG")
    np.testing.assert_array_equal(read_image(data), decoded_by_tensorflow(data))


def test_path_bytes_and_file_give_the_same(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(saved(Image.fromarray(UPRIGHT)))
    with path.open("rb") as file:
        from_file = read_image(file)
    for pixels in (
        read_image(path),
        read_image(str(path)),
        read_image(path.read_bytes()),
        from_file,
    ):
        assert pixels.dtype == "uint8" and pixels.flags.c_contiguous
        np.testing.assert_array_equal(pixels, UPRIGHT)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_undone(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    data = saved(stored, format=format, exif=exif, **options)
    np.testing.assert_array_equal(read_image(data), UPRIGHT)


@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_pixels_alone(block):
    data = saved(Image.fromarray(UPRIGHT), exif=block)
    np.testing.assert_array_equal(read_image(data), UPRIGHT)


def test_grey_becomes_three_equal_channels():
    grey = np.arange(256, dtype="uint8").reshape(16, 16)
    pixels = read_image(saved(Image.fromarray(grey)))
    np.testing.assert_array_equal(pixels, np.stack([grey] * 3, axis=-1))


def test_one_bit_becomes_black_and_white():
    bits = np.eye(9, dtype=bool)
    pixels = read_image(saved(Image.fromarray(bits)))
    np.testing.assert_array_equal(pixels[..., 0], bits * 255)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(format):
    levels = np.array([[0, 255, 256, 32768, 65279, 65535]], "uint16")
    pixels = read_image(saved(Image.fromarray(levels), format=format))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 128, 254, 255])
    if format == "PNG":
        tf = pytest.importorskip("tensorflow")
        data = saved(Image.fromarray(levels))
        np.testing.assert_array_equal(pixels, tf.io.decode_png(data, channels=3).numpy())


def test_float_grey_runs_from_0_to_1():
    levels = np.array([[0.0, 0.5, 1.0]], "float32")
    pixels = read_image(saved(Image.fromarray(levels), format="TIFF"))
    np.testing.assert_array_equal(pixels[0, :, 1], [0, 128, 255])


@pytest.mark.parametrize("level", [-0.1, 1.5, np.nan])
def test_float_grey_beyond_0_to_1_is_refused(level):
    data = saved(Image.fromarray(np.array([[level, 0.5]], "float32")), format="TIFF")
    with pytest.raises(ValueError, match=r"wanted grey levels in 0\.\.1\.0, got"):
        read_image(data)


def test_cmyk_is_converted():
    red = Image.fromarray(np.full((16, 16, 3), (200, 30, 40), "uint8")).convert("CMYK")
    pixels = read_image(saved(red, format="JPEG", quality=95)).astype(int)
    assert np.abs(pixels - (200, 30, 40)).max() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_lie_on_white(mode):
    opaque = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    opaque.putpixel((1, 0), (0, 0, 0, 0))
    format = "TIFF" if mode == "PA" else "PNG"
    pixels = read_image(saved(opaque.convert(mode), format=format))
    np.testing.assert_array_equal(pixels, [[[0, 0, 0], [255, 255, 255]]])


def test_half_transparent_is_half_white():
    pixels = read_image(saved(Image.new("RGBA", (1, 1), (100, 0, 200, 128))))
    np.testing.assert_allclose(pixels[0, 0], [177, 127, 227], atol=1)


def test_transparent_palette_colour_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels = read_image(saved(image, transparency=1))
    np.testing.assert_array_equal(pixels, [[[10, 20, 30], [255, 255, 255]]])


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(frames[0], format=format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(data), np.full((6, 8, 3), (255, 0, 0)))


# --- resizing


@pytest.mark.parametrize(
    ("size", "new_size"),
    [
        ((480, 640), (240, 320)),
        ((427, 640), (214, 320)),
        ((37, 53), (91, 17)),
        ((40, 40), (427, 640)),
        ((1, 7), (5, 3)),
        ((3, 3), (1, 1)),
    ],
)
def test_resize_equals_tensorflows(size, new_size):
    tf = pytest.importorskip("tensorflow")
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
    expected = tf.image.resize(noise, new_size, method="bilinear", antialias=False).numpy()
    resized = resize_bilinear(noise, new_size)
    assert resized.dtype == "float32"
    np.testing.assert_allclose(resized, expected, atol=1e-3)
    np.testing.assert_array_equal(resize_bilinear(noise[..., 1], new_size), resized[..., 1])


def test_resize_by_hand():
    np.testing.assert_allclose(resize_bilinear([[0, 8]], (1, 4)), [[0, 2, 6, 8]])


@pytest.mark.parametrize(
    ("shape", "size"), [((0, 4), (2, 2)), ((4,), (2, 2)), ((4, 4), (0, 2)), ((1, 4, 4, 3), (2, 2))]
)
def test_resize_says_what_it_wants(shape, size):
    with pytest.raises(ValueError, match=r"wanted \(H, W\) or \(H, W, C\) pixels"):
        resize_bilinear(np.zeros(shape), size)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (240, 320, 40, 0)),
        (640, 480, (320, 240, 0, 40)),
        (425, 640, (212, 320, 54, 0)),  # 212.5 goes to the even side
        (427, 640, (214, 320, 53, 0)),
        (320, 320, (320, 320, 0, 0)),
        (100, 33, (320, 106, 0, 107)),
        (1, 5000, (1, 320, 159, 0)),
    ],
)
def test_padded_geometry(height, width, expected):
    assert padded_geometry(height, width, 320) == expected


def test_padding_is_0_and_centred():
    square = resize_and_pad(np.full((4, 8, 3), 200, "uint8"), 8)
    assert square.shape == (8, 8, 3) and square.dtype == "float32"
    np.testing.assert_array_equal(square[2:6], 200)
    np.testing.assert_array_equal(square[[0, 1, 6, 7]], 0)


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([(), (3,)]))
@settings(max_examples=60, deadline=None)
def test_padding_is_undone_exactly_at_scale_1(height, width, channels):
    image = np.random.default_rng(0).integers(0, 256, (height, width, *channels))
    square = resize_and_pad(image, max(height, width))
    np.testing.assert_array_equal(undo_resize_and_pad(square, (height, width)), image)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(97, 61), (61, 97), (213, 320), (333, 500), (75, 75)])
def test_undo_brings_a_blob_back_where_it_was(fit, size):
    do, undo = FITS[fit]
    rows, columns = np.mgrid[: size[0], : size[1]]
    distance = (rows - size[0] * 0.4) ** 2 + (columns - size[1] * 0.55) ** 2
    blob = 255 * np.exp(-distance / (2 * (min(size) * 0.1) ** 2))
    back = undo(do(blob, 81), size)
    assert back.shape == size
    np.testing.assert_allclose(back, blob, atol=12)
    for axis in (rows, columns):
        drift = np.average(axis, weights=back) - np.average(axis, weights=blob)
        assert abs(drift) < 0.1


def test_stretch_fills_the_square():
    assert FITS["stretch"][0](np.ones((4, 8)), 6).min() == 1


@pytest.mark.parametrize("fit", FITS)
def test_fit_mask_is_0_or_1_and_keeps_the_area(fit):
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:56] = True
    fitted = fit_mask(mask, 40, fit)
    assert fitted.shape == (40, 40, 1) and fitted.dtype == "float32"
    assert set(np.unique(fitted)) == {0, 1}
    scale = 40 * 40 / (60 * 80) if fit == "stretch" else 0.25
    assert fitted.sum() == pytest.approx(mask.sum() * scale, rel=0.06)


def test_fit_mask_takes_half_and_more():
    np.testing.assert_array_equal(fit_mask([[1, 1, 0, 0]] * 4, 2)[..., 0], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(fit_mask([[0, 1], [0, 1]], 1)[..., 0], [[1]])
