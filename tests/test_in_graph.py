"""Words and pixels read within a TensorFlow graph: those of `split_words` and `read_image`."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import encoded
from PIL import Image

tf = pytest.importorskip("tensorflow")


# --- Words


def graph_words(texts):
    from keras_cmsa.in_graph.text import split_words

    words = split_words(tf.constant(texts, tf.string)).to_list()
    return [[word.decode() for word in of_text] for of_text in words]


@pytest.mark.parametrize("name", ["unc_val", "unc_testA", "referit_val"])
def test_words_of_every_real_expression(samples, name):
    from keras_cmsa.text import split_words

    lines = (samples / f"expressions/{name}.txt").read_text("utf-8").splitlines()
    assert len(lines) > 5000
    assert graph_words(lines) == [split_words(line) for line in lines]


@settings(deadline=None)
@given(st.lists(st.text() | st.binary(), min_size=1))
def test_words_of_any_text(texts):
    from keras_cmsa.text import split_words

    texts = [text.encode() if isinstance(text, str) else text for text in texts]
    assert graph_words(texts) == [split_words(text) for text in texts]


def test_words_of_every_code_point():
    """Each between two letters: joined, lower case, or apart."""
    from keras_cmsa.text import split_words

    texts = [f"a{chr(code)}b" for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    assert graph_words(texts) == [split_words(text) for text in texts]


PIECES = ["red", "b", "##ox", "##o", "##x", "r", "e", "d", "##e", "##d", "ж", "##ж", "箱", "##箱"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """`WordPieces` in both forms."""
    pytest.importorskip("tensorflow_text")
    from keras_cmsa.in_graph.text import PieceIds
    from keras_cmsa.text import WordPieces

    path = tmp_path_factory.mktemp("pieces") / "vocabulary.txt"
    plain = WordPieces(PIECES, 6)
    plain.save(path)
    return plain, PieceIds(path, 6)


@settings(deadline=None)
@given(st.lists(st.text("redboxжЖ箱z #'").filter(str.strip), min_size=1))
def test_pieces_of_any_text(pieces, texts):
    plain, in_graph = pieces
    texts = [text for text in texts if plain.split(text)] or ["red"]
    ids, tokens, counts = in_graph(tf.constant(texts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts of unknown words alone
        np.testing.assert_array_equal(ids, plain.encode(texts))
    assert counts.numpy().tolist() == [len(plain.split(text)) for text in texts]
    shown = [[token.decode() for token in row if token] for row in tokens.numpy()]
    assert shown == [plain.tokens(text) for text in texts]


def test_a_long_word_has_no_pieces(pieces):
    for length in (100, 101):
        _, tokens, counts = pieces[1](tf.constant(["e" * length]))
        assert counts.numpy().tolist() == [len(pieces[0].split("e" * length))]
        assert [token.decode() for token in tokens.numpy()[0] if token] == pieces[0].tokens(
            "e" * length
        )


# --- Images


def graph_pixels(file, max_pixels=50_000_000):
    from keras_cmsa.in_graph.images import read_image

    return read_image(tf.constant(file), max_pixels).numpy()


def files_of(photo):
    """What `read_image` and the graph must give the same pixels of, by name."""
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


NAMES = list(files_of(np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")))


@pytest.mark.parametrize("name", NAMES)
def test_pixels_are_those_of_read_image(photo, name):
    from keras_cmsa.image import read_image

    file = files_of(photo)[name]
    np.testing.assert_array_equal(graph_pixels(file), read_image(file))


def test_a_broken_exif_block_spoils_no_pixel(photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(photo, "JPEG", exif=exif)
    start = file.index(b"Exif\0\0") + 6
    plain = graph_pixels(encoded(photo, "JPEG"))
    assert graph_pixels(file).shape == (47, 31, 3)
    for offset in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)):
        broken = file[: start + 4] + offset + file[start + 8 :]
        np.testing.assert_array_equal(graph_pixels(broken), plain)


def test_real_photos(samples):
    from keras_cmsa.image import read_image

    paths = sorted((samples / "refer").rglob("*.jpg"))[:8]
    assert len(paths) == 8
    for path in paths:
        np.testing.assert_array_equal(graph_pixels(path.read_bytes()), read_image(path))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), st.data())
def test_a_damaged_file_gives_pixels_or_none(name, data):
    """Never an error, which would take the whole batch with it."""
    photo = np.random.default_rng(3).integers(0, 256, (31, 47, 3)).astype("uint8")
    file = bytearray(files_of(photo)[name])
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = bytes(file[: data.draw(st.integers(0, len(file)))])
    assert graph_pixels(file, max_pixels=100_000).shape[-1] == 3
