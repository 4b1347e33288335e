"""An exported SavedModel as Beam's `RunInference` calls it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from keras_cmsa.data.masks import run_lengths
from keras_cmsa.export.saved_model import LARGEST_IMAGE
from keras_cmsa.inference.prediction import box_of
from keras_cmsa.preprocessing.reading import read_image, read_mask
from keras_cmsa.presets.exported import load_graph
from keras_cmsa.presets.files import read_config, read_preprocessor
from keras_cmsa.utils.silence import silenced


class Piece(NamedTuple):
    """Rows of one image, and its file.

    Attributes:
        rows: list of dicts with `row`, `image` and `expression`.
        address: of the file.
        file: `bytes`; `None` before it is read, and if it cannot be.
        reason: why it cannot be read; `None` if it can.
    """

    rows: list
    address: str = ""
    file: bytes | None = None
    reason: str | None = None


class ShardHandler(ModelHandler):
    """Applies an exported SavedModel to shards, from `(name, pieces)` to `(name, rows)`.

    Beam's own handlers for TensorFlow load with `keras.models.load_model`, which takes no
    SavedModel since Keras 3 (apache/beam#30616).

    Args:
        model: folder of a version that `export_saved_model` wrote.
        images_at_once: images in one call of the model.
    """

    def __init__(self, model, images_at_once):
        super().__init__()
        self.model = model
        self.images_at_once = images_at_once

    def batch_elements_kwargs(self):
        """One shard at a time: it is a batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def load_model(self):
        """The `Segmenter`, once for each process."""
        return Segmenter(self.model)

    def run_inference(self, batch, model, inference_args=None):
        for name, pieces in batch:
            yield name, list(model.segment(pieces, self.images_at_once))

    def get_num_bytes(self, batch):
        # Beam's default pickles everything to see how long it is.
        return sum(len(piece.file or b"") for _, pieces in batch for piece in pieces)


def read_version(version):
    """What stands beside the graph of an exported version.

    Returns:
        Its `config.json` as a dict, its vocabulary, and the most pixels of an image.

    Raises:
        FileNotFoundError, ValueError: if a file is missing or is not whole.
    """
    config = read_config(version)
    vocabulary = read_preprocessor(Path(version), config).vocabulary
    try:
        return config, vocabulary, config["export"][LARGEST_IMAGE]
    except KeyError as error:
        raise ValueError(
            f"{version}: its config.json says nothing of an export. Wanted a version that "
            "keras-cmsa export wrote"
        ) from error


class Segmenter:
    """An exported SavedModel that answers each row or says why it cannot.

    Args:
        version: folder that `export_saved_model` wrote.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: if it is not whole, or needs a library
            that is missing.
    """

    def __init__(self, version):
        config, self.vocabulary, self.max_pixels = read_version(version)
        self.graph = load_graph(version, config)
        self.ask = self.graph.signatures["segment_many"]  # lives as long as the graph
        self.images = Metrics.counter(__name__, "images")
        self.expressions = Metrics.counter(__name__, "expressions")

    def segment(self, pieces, images_at_once):
        """Yields what was found for each row, in any order.

        Args:
            pieces: list of `Piece`, whose files are read.
            images_at_once: pieces in one call of the model.

        Yields:
            The row with `score`, `box`, `area` and `segmentation`, or with `reason`.
        """
        for piece in pieces:
            if piece.reason is not None:
                yield from failed(piece, piece.reason)
        # Alike in number of expressions, since the others of a call are filled up to the most.
        pieces = sorted((p for p in pieces if p.reason is None), key=lambda p: len(p.rows))
        for start in range(0, len(pieces), images_at_once):
            yield from self.answers(pieces[start : start + images_at_once])

    def answers(self, pieces):
        """`segment` of pieces in one call of the model."""
        import tensorflow as tf

        asked = [[row["expression"] for row in piece.rows] for piece in pieces]
        most = max(map(len, asked))
        self.images.inc(len(pieces))
        self.expressions.inc(sum(map(len, asked)))
        try:
            answer = self.ask(
                image_bytes=tf.constant([piece.file for piece in pieces]),
                expressions=tf.constant([row + [""] * (most - len(row)) for row in asked]),
            )
        except tf.errors.OpError as error:
            # Bad files and expressions are not valid to the graph and raise nothing. This is, say,
            # a want of memory, which must not be the neighbours' too.
            if len(pieces) > 1:
                for piece in pieces:
                    yield from self.answers([piece])
            else:
                reason = error.message.split("\n")[0]
                yield from failed(pieces[0], f"{type(error).__name__}: {reason[:200]}")
            return
        columns = (answer[name].numpy() for name in ("valid", "mask_png_bytes", "score"))
        for piece, *of_piece in zip(pieces, *columns):
            # What fills up stands behind the rows, where zip ends.
            for row, is_valid, png, score in zip(piece.rows, *of_piece):
                found = self.found(png, score) if is_valid else {"reason": self.why(piece, row)}
                yield {**row, **found}

    def found(self, png, score):
        """The columns of a mask."""
        mask = read_mask(png, self.max_pixels)
        return {
            "score": float(score),
            "box": box_of(mask),
            "area": int(mask.sum()),
            "segmentation": json.dumps(run_lengths(mask)),
        }

    def why(self, piece, row):
        """Why a row is not valid, which the graph does not say."""
        file = SimpleNamespace(read=lambda: piece.file, name=piece.address)
        try:
            read_image(file, self.max_pixels)
            self.vocabulary.checked_count(row["expression"])
            with silenced():
                self.vocabulary.encode([row["expression"]])
        except ValueError as error:
            return str(error)
        return (
            f"{piece.address}: an exported model reads JPEG and PNG, of no more than 1,000 "
            "segments before the pixels. Save it as PNG"
        )


def failed(piece, reason):
    """All rows of a piece, with the reason."""
    return [{**row, "reason": reason} for row in piece.rows]
