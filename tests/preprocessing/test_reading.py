"""Image files: pixels equal TensorFlow's decoder, every kind is upright RGB, bad ones are named."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from image_files import (
    DISC,
    SMALL,
    bounded_files,
    clear_files,
    encoded,
    lossy_mask_files,
    mask_files,
    png,
    png_chunk,
    turned_files,
)
from PIL import Image

from keras_cmsa.preprocessing.reading import (
    read_image,
    read_mask,
    read_size,
    read_stored_size,
    to_pixels,
)

UPRIGHT = SMALL

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


def decoded_by_tensorflow(data):
    tf = pytest.importorskip("tensorflow")
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()


# --- good files


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
    data = encoded(photo(*size), "JPEG", **options)
    np.testing.assert_array_equal(read_image(data), decoded_by_tensorflow(data))


def test_grey_jpeg_equals_tensorflows_decoder():
    data = encoded(Image.fromarray(photo(40, 50)).convert("L"), "JPEG")
    np.testing.assert_array_equal(read_image(data), decoded_by_tensorflow(data))


def test_path_bytes_and_file_give_the_same(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(UPRIGHT))
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
    data = encoded(stored, format, exif=exif, **options)
    np.testing.assert_array_equal(read_image(data), UPRIGHT)


@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_pixels_alone(block):
    data = encoded(UPRIGHT, exif=block)
    np.testing.assert_array_equal(read_image(data), UPRIGHT)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", turned_files())
def test_one_rule_for_the_orientation(name, tmp_path):
    file, turn = turned_files()[name]
    stored = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    turned = {
        1: stored,
        2: np.fliplr(stored),
        3: np.rot90(stored, 2),
        4: np.flipud(stored),
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }[turn]
    np.testing.assert_array_equal(read_image(file), turned)
    path = tmp_path / "picture"
    path.write_bytes(file)
    assert read_size(path) == turned.shape[:2]
    assert read_stored_size(path) == (stored.shape[:2], turn)
    np.testing.assert_array_equal(read_image(file, stored_size=(8, 12)), stored)


@pytest.mark.parametrize("name", clear_files())
def test_the_clear_level_of_a_png_is_white(name):
    file, pixels = clear_files()[name]
    pixels = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(file), pixels)


def test_grey_becomes_three_equal_channels():
    grey = np.arange(256, dtype="uint8").reshape(16, 16)
    pixels = read_image(encoded(grey))
    np.testing.assert_array_equal(pixels, np.stack([grey] * 3, axis=-1))


def test_one_bit_becomes_black_and_white():
    bits = np.eye(9, dtype=bool)
    pixels = read_image(encoded(bits))
    np.testing.assert_array_equal(pixels[..., 0], bits * 255)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(format):
    levels = np.array([[0, 255, 256, 32768, 65279, 65535]], "uint16")
    pixels = read_image(encoded(levels, format))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 128, 254, 255])
    if format == "PNG":
        tf = pytest.importorskip("tensorflow")
        data = encoded(levels)
        np.testing.assert_array_equal(pixels, tf.io.decode_png(data, channels=3).numpy())


def test_float_grey_runs_from_0_to_1():
    levels = np.array([[0.0, 0.5, 1.0]], "float32")
    pixels = read_image(encoded(levels, "TIFF"))
    np.testing.assert_array_equal(pixels[0, :, 1], [0, 128, 255])


@pytest.mark.parametrize("level", [-0.1, 1.5, np.nan])
def test_float_grey_beyond_0_to_1_is_refused(level):
    data = encoded(np.array([[level, 0.5]], "float32"), "TIFF")
    with pytest.raises(ValueError, match=r"wanted grey levels in 0\.\.1\.0\. Received"):
        read_image(data)


def test_cmyk_is_converted():
    red = Image.fromarray(np.full((16, 16, 3), (200, 30, 40), "uint8")).convert("CMYK")
    pixels = read_image(encoded(red, "JPEG", quality=95)).astype(int)
    assert np.abs(pixels - (200, 30, 40)).max() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_lie_on_white(mode):
    opaque = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    opaque.putpixel((1, 0), (0, 0, 0, 0))
    format = "TIFF" if mode == "PA" else "PNG"
    pixels = read_image(encoded(opaque.convert(mode), format))
    np.testing.assert_array_equal(pixels, [[[0, 0, 0], [255, 255, 255]]])


def test_half_transparent_is_half_white():
    pixels = read_image(encoded(Image.new("RGBA", (1, 1), (100, 0, 200, 128))))
    np.testing.assert_allclose(pixels[0, 0], [177, 127, 227], atol=1)


def test_transparent_palette_colour_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels = read_image(encoded(image, transparency=1))
    np.testing.assert_array_equal(pixels, [[[10, 20, 30], [255, 255, 255]]])


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(data), np.full((6, 8, 3), (255, 0, 0)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_the_size_in_the_header_is_that_of_the_upright_image(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.new("RGB", (12, 8)).save(path, exif=exif)
    assert read_size(path) == read_image(path).shape[:2]


def test_what_a_person_has_at_hand(tmp_path):
    """A path, a picture, an array: grey, in colour, with opacity."""
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(UPRIGHT))
    for image in (path, encoded(UPRIGHT), Image.open(path), UPRIGHT, UPRIGHT[::-1][::-1]):
        np.testing.assert_array_equal(to_pixels(image), UPRIGHT)
    grey = UPRIGHT[..., 0]
    np.testing.assert_array_equal(to_pixels(grey), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(to_pixels(grey[..., None]), to_pixels(grey))
    half = np.dstack([UPRIGHT, np.where(np.arange(12) < 6, 255, 0)[None].repeat(8, 0)])
    half = to_pixels(half.astype("uint8"))
    np.testing.assert_array_equal(half[:, :6], UPRIGHT[:, :6])
    assert (half[:, 6:] == 255).all()


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (UPRIGHT / 255, r"float64 of shape \(8, 12, 3\)"),
        (UPRIGHT[None], r"uint8 of shape \(1, 8, 12, 3\)"),
        (UPRIGHT[..., :2], r"uint8 of shape \(8, 12, 2\)"),
        (UPRIGHT[:0], r"uint8 of shape \(0, 12, 3\)"),
    ],
    ids=["floats", "batch", "channels", "empty"],
)
def test_an_array_that_is_no_image_is_refused(array, got):
    with pytest.raises(ValueError, match=f"wanted an image as a uint8 array .* Received: {got}"):
        to_pixels(array)


# --- masks


def test_the_disc_is_that_of_its_formula():
    assert DISC.sum() == 1961


@pytest.mark.parametrize("name", mask_files())
def test_a_mask_is_what_is_neither_black_nor_clear(name):
    found = read_mask(mask_files()[name])
    assert found.dtype == bool
    np.testing.assert_array_equal(found, DISC)


@pytest.mark.parametrize("name", lossy_mask_files())
def test_a_lossy_mask_is_cut_at_half(name):
    with pytest.warns(UserWarning, match="with losses, .* is cut at half brightness"):
        found = read_mask(lossy_mask_files()[name])
    wrong = found ^ DISC
    edge = np.hypot(np.arange(90)[:, None] - 45, np.arange(120) - 60)
    assert wrong.sum() <= 20 and not wrong[np.abs(edge - 25) > 1.5].any()


def test_labels_of_16_bits():
    """The numbers of a user: 7 in 20 x 20 pixels and 300 in 30 x 40."""
    labels = np.zeros((90, 120), "uint16")
    labels[5:25, 5:25] = 7
    labels[40:70, 40:80] = 300
    assert read_mask(encoded(labels)).sum() == 1600
    assert read_mask(encoded(labels, "TIFF")).sum() == 1600


def test_a_mask_is_turned_upright():
    block = Image.Exif()
    block[0x0112] = 6
    found = read_mask(encoded(np.rot90(DISC * np.uint8(255), 1)[:, 10:], exif=block))
    np.testing.assert_array_equal(found, DISC[10:])


def test_colours_of_16_bits_are_no_mask():
    file = png([bytes([0, 1] * 3)], 16, 2)
    with pytest.raises(ValueError, match="wanted a mask of 8 bits, or of one channel. Received: c"):
        read_mask(file)


# --- bad files


def png_of_size(width, height):
    """A PNG that declares a size and has next to no pixels: 70 bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (7_100, r"1 to 50,000,000 pixels\. Received: 7100 x 7100 pixels\. Scale it down"),
        (10_000, r"1 to 50,000,000 pixels\. Received: a larger one"),  # where Pillow warns
        (30_000, r"1 to 50,000,000 pixels\. Received: a larger one"),  # where Pillow refuses
    ],
)
def test_huge_image_is_refused_by_its_header(tmp_path, side, message):
    path = tmp_path / "huge.png"
    path.write_bytes(png_of_size(side, side))
    started = time.process_time()
    with pytest.raises(ValueError, match=rf"huge\.png: .*{message}"):
        read_image(path)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", bounded_files())
def test_files_that_would_take_too_long_are_refused(name, tmp_path):
    file, is_read = bounded_files()[name]
    started = time.process_time()
    if is_read:
        assert read_image(file).ndim == 3
    else:
        with pytest.raises(ValueError, match="the image given as bytes: wanted .* Received: "):
            read_image(file)
    assert time.process_time() - started < 1


def test_a_refused_file_is_named(tmp_path):
    (tmp_path / "slow.jpg").write_bytes(bounded_files()["jpeg, many scans"][0])
    with pytest.raises(
        ValueError, match=r"slow\.jpg: wanted a JPEG of at most 50 scans. Received: 51"
    ):
        read_image(tmp_path / "slow.jpg")
    (tmp_path / "long.png").write_bytes(bounded_files()["png, many chunks"][0])
    for read in (read_image, read_size):
        with pytest.raises(
            ValueError, match=r"long\.png: wanted a file of at most 20,000 segments"
        ):
            read(tmp_path / "long.png")


def test_levels_without_a_known_white_are_refused():
    image = Image.fromarray(np.array([[0, 128, 255]], "int32"))
    with pytest.raises(
        ValueError, match="wanted grey levels of 8 or 16 bits, .* 32 bits in 0..255"
    ):
        read_image(encoded(image, "TIFF"))
    with pytest.raises(ValueError, match="wanted grey levels of 8 or 16 bits"):
        to_pixels(image)


def test_limit_of_pixels_can_be_set():
    with pytest.raises(ValueError, match=r"of 1 to 199 pixels\. Received: 20 x 10 pixels"):
        read_image(png_of_size(20, 10), max_pixels=199)


def picture(format):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype("uint8"))
    return image.convert("P") if format == "GIF" else image


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_image_cut_short_is_never_padded(tmp_path, format, share):
    path = tmp_path / "cut"
    picture(format).save(path, format)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"cut (cannot be decoded|is not an image)"):
        read_image(path)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_jpeg_cut_short_says_so(tmp_path, options):
    path = tmp_path / "cut.jpg"
    picture("JPEG").save(path, **options)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"cut.jpg cannot be decoded: image file is truncated"):
        read_image(path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_damaged_image_raises_value_error_only(tmp_path, format):
    path = tmp_path / "picture"
    picture(format).save(path, format)
    content = np.frombuffer(path.read_bytes(), "uint8")
    rng = np.random.default_rng(1)
    for _ in range(60):
        spoilt = content.copy()
        spoilt[rng.integers(0, min(len(content), 800), 3)] = rng.integers(0, 256, 3)
        try:
            assert read_image(spoilt.tobytes(), max_pixels=10**6).ndim == 3
        except ValueError as error:
            assert "the image given as bytes" in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 abc"]
)
def test_not_an_image(content):
    with pytest.raises(
        ValueError, match="the image given as bytes is not an image, or its header is cut short"
    ):
        read_image(content)


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path):
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)  # which takes no room on the disk
    with pytest.raises(ValueError, match=r"video\.mp4: wanted .* of at most 1,000,000,000 bytes"):
        read_image(path)


def test_a_file_open_as_text_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("a red box")
    with path.open() as file, pytest.raises(ValueError, match=r"notes\.txt open in binary mode"):
        read_image(file)


def test_missing_image_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ValueError, match="wanted an image file. Received: the folder"):
        read_image(tmp_path)
