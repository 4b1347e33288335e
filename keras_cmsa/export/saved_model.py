"""Export as a SavedModel for TensorFlow Serving: an image file and an expression in, a mask out."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from keras_cmsa.export.gate import check_operations
from keras_cmsa.export.network import (
    check_exportable,
    check_masks,
    config_of_export,
    network_for_export,
)
from keras_cmsa.export.warmup import write_warmup
from keras_cmsa.inference.masks import PROFILES, check_profile
from keras_cmsa.preprocessing.reading import MAX_PIXELS
from keras_cmsa.presets.exported import load_export
from keras_cmsa.presets.files import GRAPH, VOCABULARY, threshold_in
from keras_cmsa.presets.model_card import EXPORTED_AS, MASKS_BY, STORED_AS
from keras_cmsa.presets.preset import Preset, write_config
from keras_cmsa.presets.reference import read_reference, write_reference
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import new_folder

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ExportOptions:
    """The options of `export_saved_model`.

    Attributes:
        profile: the rule from logits to masks, a key of `keras_cmsa.inference.masks.PROFILES`.
        dtype: dtype of the stored weights, one of `DTYPES`; computation is in float32.
        max_pixels: the most pixels of an image; an image whose header declares more is not decoded.
        warmup: also write requests that a server replays before it reports that it is ready. This
            needs `pip install "keras-cmsa[serve]"`.

    Raises:
        ValueError: if the profile or the dtype is unknown.
    """

    profile: str = "strict"
    dtype: str = "float32"
    max_pixels: int = MAX_PIXELS
    warmup: bool = True

    def __post_init__(self):
        check_profile(self.profile)
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}. Received: dtype={self.dtype!r}")


def export_saved_model(preset, folder, version=1, options=None):
    """Writes `<folder>/<version>/`, whole or not at all.

    TensorFlow Serving must have every operation of the SavedModel. It is run before it is kept, and
    its outputs are compared with those of the model.

    The SavedModel has these signatures, for a batch of B rows, L attention levels and N words:

    `serving_default`: `image_bytes` `(B,)` string (a JPEG or PNG file) and `expression` `(B,)`
    string to

    - `probabilities` `(B, S, S)` float32 of the pixels of the square, padding included
    - `mask_png_bytes` `(B,)` string, the mask at the size of the upright image
    - `score` `(B,)` float32, the mean probability over the mask
    - `box` `(B, 4)` float32: left, top, right, bottom, as shares of width and height
    - `words` `(B, N)` string, the words that the model reads, empty at padding
    - `word_attention` `(B, L, N)` float32, if the model has it
    - `exists` `(B,)` bool, whether anything fits; where nothing does the mask is empty and the score
      0. True for a valid row of a model that does not say
    - `existence` `(B,)` float32 in 0..1, if the model says it: how sure it is that something fits;
      `exists` is whether it reaches the preset's threshold
    - `valid` `(B,)` bool, False for a row whose image cannot be read, or whose expression has no
      word or more than `5 N`. The score and the probabilities of such a row are 0 and its mask is
      empty, `(S, S)` if the size of the image is unknown; other rows are not affected

    `segment_many`: `image_bytes` `(B,)` and `expressions` `(B, K)` string to the same with the axis
    K after B. The K expressions about an image share its work. An empty one is not valid; it
    fills up a row. K is at most 256, and an image has at most `16 max_pixels / K` pixels.

    `tensors`: the model's inputs `image` `(B, S, S, 3)` float32 and `words` `(B, K, N)` int32 to
    `logits` `(B, K, S, S, 1)`, `exists` `(B, K)` in 0..1, `word_attention` and `position_attention`,
    those that it has.

    `heatmap`, if the model has position attention: the inputs of `serving_default` to
    `position_attention` `(B, L, S / 8, S / 8)` float32 and `valid`.

    Args:
        preset: `Preset` or `Predictor`. With `WordPieces`, the SavedModel has an operation of
            tensorflow-text, which TensorFlow Serving includes.
        folder: folder of all versions of the model; its name is the model's name on a server.
        version: positive integer.
        options: `ExportOptions`; `None`: the defaults.

    Returns:
        `Path` of the version.

    Raises:
        FileExistsError: if the version exists.
        ModuleNotFoundError: if a library for the warmup requests is missing.
        OSError: if the folder cannot be written.
        OtherOutputs: if the SavedModel gives other outputs than the model.
        ValueError: if the preprocessor does not fit the model, the model comes from an export, the
            version is no positive integer, the Keras backend is not TensorFlow, or TensorFlow
            Serving lacks an operation.
    """
    options = options or ExportOptions()
    check_exportable(preset)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a positive integer. Received: version={version!r}")
    path = Path(folder) / str(version)
    if os.path.lexists(path):
        raise FileExistsError(
            f"{path} is there already, and may be in service: choose another version"
        )
    if options.warmup:
        purpose = "A file of warmup requests (`warmup=False` leaves it out)"
        require("tensorflow_serving.apis", "serve", purpose)
    network, example = network_for_export(preset)
    facts = {
        EXPORTED_AS: "SavedModel",
        "Name for a server": path.parent.name,
        "Version": version,
        MASKS_BY: options.profile,
        STORED_AS: options.dtype,
        "Largest image in pixels": options.max_pixels,
    }
    config = config_of_export(preset, facts)
    # A server takes folders with a number as versions and ignores one whose name begins with a dot.
    with new_folder(path) as partial:
        write_graph(network, preset.preprocessor, partial, options, threshold_in(config))
        check_operations(partial, path)
        write_config(partial, config)
        write_reference(partial, preset, PROFILES[options.profile].to_mask)
        written = load_export(partial / GRAPH, config)
        example.check(written.predict_on_batch(example.inputs), options.dtype)
        if read_reference(partial).masks[0].size <= options.max_pixels:
            check_masks(partial, Preset(written, preset.preprocessor, config))
        if options.warmup:
            write_warmup(partial, path.parent.name, preset.preprocessor.vocabulary)
    return path


def write_graph(network, preprocessor, folder, options, threshold):
    """Writes the SavedModel of a network with all its outputs into an existing folder."""
    import tensorflow as tf

    # These modules import TensorFlow, which the rest of this module does not need.
    from keras_cmsa.export.graph.text import TWINS
    from keras_cmsa.export.served import ServedModel

    # The table reads this file when it is built, and saving copies it to assets/.
    words = folder / VOCABULARY
    preprocessor.vocabulary.save(words)
    word_ids = TWINS[preprocessor.vocabulary.tokenizer](preprocessor.vocabulary, words)
    served = ServedModel(network, word_ids, preprocessor.resizing, options, threshold)
    try:
        tf.saved_model.save(served, str(folder), served.signatures())
    except tf.errors.OpError as error:  # of a full disk, for instance: "<its file>; <reason>"
        reason = str(error).strip().split("\n")[0].rpartition("; ")[2]
        raise OSError(errno.EIO, reason, str(folder)) from error
    words.unlink()
