"""Image files: every kind is upright RGB, bad ones are named."""

import io
import time

import numpy as np
import pytest
from image_files import (
    DISC,
    SMALL,
    bounded_files,
    clear_files,
    encoded,
    large_png,
    lossy_mask_files,
    mask_files,
    png,
    turned_files,
)
from PIL import Image

from keras_cmsa.preprocessing.reading import (
    FORMATS,
    read_image,
    read_mask,
    read_size,
    read_stored_size,
    to_pixels,
)

# {EXIF orientation: stored pixels to upright ones}, by where the standard lays the first row.
TURNS = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def grey(levels):
    """A row of grey levels as RGB."""
    return np.repeat(np.uint8(levels)[np.newaxis, :, np.newaxis], 3, axis=-1)


# --- good files


@pytest.mark.parametrize("format", ["TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_is_undone(orientation, format, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    back = TURNS[{6: 8, 8: 6}.get(orientation, orientation)]
    stored = Image.fromarray(np.ascontiguousarray(back(SMALL)))
    path = tmp_path / "picture"
    path.write_bytes(encoded(stored, format, exif=exif, **options))
    np.testing.assert_array_equal(read_image(path), SMALL)
    assert read_size(path) == SMALL.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Metadata Warning")
@pytest.mark.parametrize("name", turned_files())
def test_one_rule_for_the_orientation(name, tmp_path):
    file, turn = turned_files()[name]
    stored = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    turned = TURNS[turn](stored)
    np.testing.assert_array_equal(read_image(file), turned)
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(file))), turned)
    path = tmp_path / "picture"
    path.write_bytes(file)
    assert read_size(path) == turned.shape[:2]
    assert read_stored_size(path) == (stored.shape[:2], turn)
    np.testing.assert_array_equal(read_image(file, stored_size=(8, 12)), stored)


def test_an_exif_block_that_pillow_cannot_write_anew():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    file = encoded(SMALL, "JPEG", exif=exif)
    damaged = file.replace(b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02")  # a width that is text
    assert damaged != file
    np.testing.assert_array_equal(read_image(damaged), read_image(file))


@pytest.mark.parametrize("name", clear_files())
def test_the_clear_level_of_a_png_is_white(name):
    file, pixels = clear_files()[name]
    pixels = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(file), pixels)


def clear(mode):
    """A black pixel and a clear one."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    return image.convert(mode)


def palette():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    return image


LEVELS = np.array([[0, 255, 256, 32768, 65279, 65535]], "uint16")
KINDS = {
    "grey": (encoded(np.arange(256, dtype="uint8")[np.newaxis]), grey(range(256))),
    "one bit": (encoded(np.array([[True, False]])), grey([255, 0])),
    "PNG of 16 bits": (encoded(LEVELS), grey([0, 0, 1, 128, 254, 255])),
    "TIFF of 16 bits": (encoded(LEVELS, "TIFF"), grey([0, 0, 1, 128, 254, 255])),
    "floats": (encoded(np.array([[0, 0.5, 1]], "float32"), "TIFF"), grey([0, 128, 255])),
    "RGBA": (encoded(clear("RGBA")), grey([0, 255])),
    "LA": (encoded(clear("LA")), grey([0, 255])),
    "PA": (encoded(clear("PA"), "TIFF"), grey([0, 255])),
    "half clear": (
        encoded(Image.new("RGBA", (1, 1), (100, 0, 200, 128))),
        np.uint8([[[177, 127, 227]]]),
    ),
    "palette": (encoded(palette(), transparency=1), np.uint8([[[10, 20, 30], [255, 255, 255]]])),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_rgb(name):
    file, pixels = KINDS[name]
    np.testing.assert_array_equal(read_image(file), pixels)


def test_cmyk_is_converted():
    red = Image.fromarray(np.full((16, 16, 3), (200, 30, 40), "uint8")).convert("CMYK")
    pixels = read_image(encoded(red, "JPEG", quality=95)).astype(int)
    assert np.abs(pixels - (200, 30, 40)).max() < 6


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(data), np.full((6, 8, 3), (255, 0, 0)))


def test_what_a_person_has_at_hand(tmp_path):
    """A path, bytes, a file, a picture, an array: grey, in colour, with opacity."""
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(SMALL))
    made = Image.fromarray(SMALL)
    made.format = "PNG"  # as a person keeps the format of a picture that was scaled
    pictures = Image.open(path), Image.fromarray(SMALL), made
    for image in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), *pictures):
        pixels = to_pixels(image)
        assert pixels.dtype == "uint8" and pixels.flags.c_contiguous
        np.testing.assert_array_equal(pixels, SMALL)
    assert to_pixels(SMALL) is SMALL
    levels = SMALL[..., 0]
    np.testing.assert_array_equal(to_pixels(levels), np.stack([levels] * 3, axis=-1))
    np.testing.assert_array_equal(to_pixels(levels[..., None]), to_pixels(levels))
    half = np.dstack([SMALL, np.where(np.arange(12) < 6, 255, 0)[None].repeat(8, 0)])
    half = to_pixels(half.astype("uint8"))
    np.testing.assert_array_equal(half[:, :6], SMALL[:, :6])
    assert (half[:, 6:] == 255).all()


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (SMALL / 255, r"float64 of shape \(8, 12, 3\)"),
        (SMALL[None], r"uint8 of shape \(1, 8, 12, 3\)"),
        (SMALL[..., :2], r"uint8 of shape \(8, 12, 2\)"),
        (SMALL[:0], r"uint8 of shape \(0, 12, 3\)"),
        (SMALL[0, :, 0], r"uint8 of shape \(12,\)"),
    ],
    ids=["floats", "batch", "channels", "empty", "row"],
)
def test_an_array_that_is_no_image_is_refused(array, got):
    with pytest.raises(ValueError, match=f"wanted an image as a uint8 array .* Received: {got}"):
        to_pixels(array)


# --- masks


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


def test_a_mask_is_turned_upright():
    block = Image.Exif()
    block[0x0112] = 6
    found = read_mask(encoded(np.rot90(DISC * np.uint8(255), 1)[:, 10:], "TIFF", exif=block))
    np.testing.assert_array_equal(found, DISC[10:])


def test_colours_of_16_bits_are_no_mask():
    file = png([bytes([0, 1] * 3)], 16, 2)
    with pytest.raises(ValueError, match="wanted a mask of 8 bits, or of one channel. Received: c"):
        read_mask(file)


# --- bad files


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
    path.write_bytes(large_png(side, side))
    started = time.process_time()
    for read in (read_image, read_mask, read_size):
        with pytest.raises(ValueError, match=rf"huge\.png: .*{message}"):
            read(path)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", bounded_files())
def test_no_file_takes_long(name):
    file, _, is_read = bounded_files()[name]
    started = time.process_time()
    if is_read:
        assert read_image(file).ndim == 3
    else:
        with pytest.raises(ValueError, match="the image given as bytes: wanted .* Received: "):
            read_image(file)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("level", [-0.1, 1.5, np.nan])
def test_float_grey_beyond_0_to_1_is_refused(level):
    data = encoded(np.array([[level, 0.5]], "float32"), "TIFF")
    with pytest.raises(ValueError, match=r"wanted grey levels in 0\.\.1\.0\. Received"):
        read_image(data)


def test_levels_without_a_known_white_are_refused():
    image = Image.fromarray(np.array([[0, 128, 255]], "int32"))
    for read, source in ((read_image, encoded(image, "TIFF")), (to_pixels, image)):
        with pytest.raises(
            ValueError, match="wanted grey levels of 8 or 16 bits, .* 32 bits in 0..255"
        ):
            read(source)


def test_limit_of_pixels_can_be_set():
    with pytest.raises(ValueError, match=r"of 1 to 95 pixels\. Received: 12 x 8 pixels"):
        read_image(encoded(SMALL), max_pixels=95)


def picture(format):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype("uint8"))
    return encoded(image.convert("P") if format == "GIF" else image, format)


@pytest.mark.parametrize("format", FORMATS)
def test_image_cut_short_is_never_padded(tmp_path, format):
    path, content = tmp_path / "cut", picture(format)
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=r"cut (cannot be decoded|is not an image)"):
            read_image(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF", b"P6 1 1 255 abc"]
)
def test_not_an_image(content):
    with pytest.raises(
        ValueError, match="the image given as bytes is not an image, or its header is cut short"
    ):
        read_image(content)


def test_a_path_that_is_no_image_is_named(tmp_path):
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)  # which takes no room on the disk
    for read in (read_image, read_mask, read_size):
        with pytest.raises(ValueError, match=r"video\.mp4: wanted .* at most 1,000,000,000 bytes"):
            read(path)
        with pytest.raises(FileNotFoundError, match=r"wanted an image file\. .*nowhere\.jpg"):
            read(tmp_path / "nowhere.jpg")
        with pytest.raises(ValueError, match="wanted an image file. Received: the folder"):
            read(tmp_path)
    path = tmp_path / "notes.txt"
    path.write_text("a red box")
    with path.open() as file, pytest.raises(ValueError, match=r"notes\.txt open in binary mode"):
        read_image(file)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "mine.png"
    path.write_bytes(encoded(SMALL))

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)  # whoever runs this: root may read every file
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    for read in (read_image, read_mask, read_size):
        with pytest.raises(PermissionError, match=r"Permission denied: '.*mine\.png'"):
            read(path)
