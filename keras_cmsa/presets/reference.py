"""What a trained model answers about one drawn picture: a file that lies in presets and exports.

The picture is drawn here, so it is free to use. Its PNG holds the pixels that its JPEG decodes to, so
that both have one answer. `keras_cmsa.inference.verification` compares other answers with it.
"""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image, ImageDraw
from scipy.special import expit

from keras_cmsa.data.masks import rasterize, run_lengths
from keras_cmsa.preprocessing.preprocessor import strict_mask
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.presets.files import fits, threshold_in
from keras_cmsa.presets.hub import REFERENCE
from keras_cmsa.presets.safe_loading import Refused, loading
from keras_cmsa.utils.files import replaced

SENTENCES = 3  # K
THINGS = 6  # drawn in the picture: the fewer, the smaller its PNG
GRID = 2048  # probabilities are multiples of 1/2048, as fine as float16 has them near 1
MAX_PIXELS = 4_000_000  # of a picture; that of a model of 1,280 pixels has half
MAX_BYTES = 64 * 2**20  # of the arrays; those of a model of 1,280 pixels take a fifth


class Reference(NamedTuple):
    """A picture of H x W pixels, K sentences, and the answers of a model with a square of side S.

    Attributes:
        png, jpeg: bytes of the picture's files.
        sentences: list of K `str`, of the vocabulary's own words.
        ids: `(K, N)` int32.
        probabilities: `(K, S, S)` float16 in 0..1.
        square: `(1, S, S)` float16, those of the first sentence in `in_square` of the picture.
        exists: `(K,)` float32 in 0..1; `None` of a model without.
        masks: `(K, H, W)` bool.
    """

    png: bytes
    jpeg: bytes
    sentences: list
    ids: np.ndarray
    probabilities: np.ndarray
    square: np.ndarray
    exists: np.ndarray | None
    masks: np.ndarray


def write_reference(folder, preset, to_mask=strict_mask):
    """Writes `reference.npz`, with the answers of the model itself: neither folded nor exported.

    Args:
        folder: of the preset or the export.
        preset: `Preset` or `Predictor`.
        to_mask: function of logits `(S, S)`, `(H, W)` and the preprocessor to a mask `(H, W)` bool.
    """
    preprocessor, side = preset.preprocessor, preset.preprocessor.image_size
    png, jpeg = draw_picture(side)
    pixels, sentences = read_image(png), sentences_of(preprocessor.vocabulary)
    outputs = run(preset, pixels, sentences)
    square = run(preset, in_square(pixels, side), sentences[:1])
    masks = [to_mask(x, pixels.shape[:2], preprocessor) for x in outputs["logits"]]
    arrays = {
        "png": np.frombuffer(png, "uint8"),
        "jpeg": np.frombuffer(jpeg, "uint8"),
        "sentences": np.array(sentences),
        "ids": preprocessor.words([sentences])[0],
        "probabilities": as_stored(outputs["logits"]),
        "square": as_stored(square["logits"]),
    }
    if "exists" in outputs:
        arrays["exists"] = outputs["exists"]
        exists = fits(outputs["exists"], threshold_in(preset.config))
        masks = [mask & exist for mask, exist in zip(masks, exists)]
    arrays["masks"] = np.array([run_lengths(mask)["counts"] for mask in masks])
    with replaced(Path(folder) / REFERENCE, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_reference(folder):
    """The `Reference` in the folder of a preset or an export; it may be a stranger's.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, holds objects, or is larger than `MAX_BYTES`.
    """
    path = Path(folder) / REFERENCE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: wanted the reference that a preset or an export is written with"
        )
    with loading(path):
        with zipfile.ZipFile(path) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > MAX_BYTES:
                raise Refused(
                    f"{path} is refused: it unpacks to {size:,} bytes; wanted at most {MAX_BYTES:,}"
                )
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        arrays |= {name: arrays[name].tobytes() for name in ("png", "jpeg")}
        size = read_image(arrays["png"], MAX_PIXELS).shape[:2]
        arrays["sentences"] = arrays["sentences"].tolist()
        arrays["masks"] = np.stack([as_mask(code, *size) for code in arrays["masks"].tolist()])
        reference = Reference(**{"exists": None, **arrays})
        side = reference.square.shape[-1]
        wanted = {"probabilities": (SENTENCES, side, side), "square": (1, side, side)}
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise ValueError(f"wanted {name} {shape}. Received: {arrays[name].shape}")
        lengths = {len(x) for x in (reference.sentences, reference.ids, reference.masks)}
        if lengths != {SENTENCES}:
            raise ValueError(f"wanted {SENTENCES} sentences. Received: {sorted(lengths)}")
    return reference


def draw_picture(side):
    """The bytes of a PNG and a JPEG of things in flat colours, the same whenever they are drawn.

    Args:
        side: S of the network in pixels. The picture is 4/3 as wide as high, and in most cases a
            quarter wider than S, so that it is resized.
    """
    rng = np.random.default_rng(0)
    width = max(64, side * 5 // 4)
    size = np.array([width, width * 3 // 4])
    image = Image.new("RGB", tuple(size.tolist()), "grey")
    draw = ImageDraw.Draw(image)
    for number in range(THINGS):
        centre, half = rng.uniform(0, size), rng.uniform(0.03, 0.2, 2) * width
        box = [*(centre - half).tolist(), *(centre + half).tolist()]
        paint = draw.ellipse if number % 2 else draw.rectangle
        paint(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=75)
    Image.fromarray(read_image(jpeg.getvalue())).save(png, "PNG", optimize=True)
    return png.getvalue(), jpeg.getvalue()


def in_square(pixels, side):
    """The picture `(H, W, 3)` cut or repeated to `(side, side, 3)`, which nothing resizes."""
    rows, columns = (np.arange(side) % length for length in pixels.shape[:2])
    return pixels[rows][:, columns]


def sentences_of(vocabulary):
    """`SENTENCES` of one to N words, the first ones that a vocabulary has."""
    words = [x for x in vocabulary.words if x not in vocabulary.specials]
    words = [x for x in words if vocabulary.split(x) == [x]] or [vocabulary.unknown]
    ends = np.linspace(1, vocabulary.max_words, SENTENCES).round().astype(int).cumsum()
    chosen = np.split(np.resize(words, ends[-1]), ends[:-1])
    return [" ".join(part) for part in chosen]


def run(preset, pixels, sentences):
    """Dict of `logits` `(K, S, S)` and, where the model has it, `exists` `(K,)`: float32."""
    outputs = preset.model(preset.preprocessor([pixels], [sentences]), training=False)
    outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
    outputs = {name: keras.ops.cast(x[0], "float32") for name, x in outputs.items()}
    outputs = {name: keras.ops.convert_to_numpy(x) for name, x in outputs.items()}
    return {**outputs, "logits": outputs["logits"][..., 0]}


def as_stored(logits):
    return (np.round(expit(logits) * GRID) / GRID).astype("float16")


def as_mask(code, height, width):
    """The mask `(height, width)` bool of COCO's run lengths."""
    empty = np.zeros((height, width), bool)
    runs = run_lengths(empty)
    if code == runs["counts"]:  # which `rasterize` refuses
        return empty
    return rasterize({**runs, "counts": code}, height, width, "a mask").astype(bool)
