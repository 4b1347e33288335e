"""Words from elsewhere in place of words learnt from nothing: a text encoder, or static vectors."""

import json
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from keras_cmsa.preprocessing.vocabulary import MAX_WORDS, PADDING, UNKNOWN, Vocabulary
from keras_cmsa.preprocessing.word_pieces import WordPieces
from keras_cmsa.utils.extras import library_fault, require

START, END = "[CLS]", "[SEP]"
PRESET = "the name or folder of a preset of a text encoder, with its config, weights and tokenizer"


def word_encoder(source, pieces=None, max_words=MAX_WORDS, weights=True, trainable=False):
    """A pretrained text encoder of the BERT family, with the vocabulary whose ids it reads.

    Args:
        source: a text backbone of KerasHub, or the name or folder of its preset. A folder in
            Hugging Face's form is one too.
        pieces: list of all entries of the tokenizer's vocabulary, in the order of their ids.
            `None`: those of the preset.
        max_words: pieces per expression N.
        weights: whether to load those of a preset.
        trainable: whether training changes the encoder.

    Returns:
        `(encoder, vocabulary)`: a `PretrainedWords`, and the `WordPieces` for the preprocessor,
        which has those pieces that are words or parts of words by the rules of `split_words`.

    Raises:
        ModuleNotFoundError: if KerasHub is not installed.
        OSError: if the preset cannot be loaded.
        ValueError: if the pieces have ids beyond the table of the encoder, or lack `[PAD]`,
            `[UNK]`, `[CLS]` or `[SEP]`.
    """
    hub = require("keras_hub", "pretrained", "A text encoder")
    tower = source
    if isinstance(source, str | Path):
        with library_fault(f"wanted {PRESET}. Received: {str(source)!r}"):
            pieces = pieces or pieces_of(source, hub)
            tower = hub.models.Backbone.from_preset(str(source), load_weights=weights)
    missing = {PADDING, UNKNOWN, START, END} - set(pieces or ())
    if missing:
        raise ValueError(
            f"wanted the pieces of a tokenizer with {sorted(missing)}. "
            f"Received: {len(pieces or ())} pieces"
        )
    id_of = {piece: i for i, piece in enumerate(pieces)}
    known = [p for p in pieces if WordPieces.is_valid_word(p)]
    vocabulary = WordPieces(known, max_words)
    encoder = PretrainedWords(
        tower,
        ids=[id_of[piece] for piece in vocabulary.words],
        start=id_of[START],
        end=id_of[END],
        name="word_vectors",
    )
    tower.trainable = encoder.trainable = trainable
    return encoder, vocabulary


def pieces_of(source, hub):
    """All entries of a preset's tokenizer, in the order of their ids."""
    file = Path(source) / "tokenizer.json"  # of Hugging Face
    if not file.is_file():
        return hub.models.Tokenizer.from_preset(str(source)).get_vocabulary()
    ids = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
    return sorted(ids, key=ids.get)


@keras.saving.register_keras_serializable(package="keras_cmsa")
class PretrainedWords(keras.layers.Layer):
    """The vectors that a text encoder of the BERT family gives the words of an expression.

    The encoder reads `[CLS]`, the words and `[SEP]`. Only the vectors of words come back, so
    nothing else attends or is attended to.

    Args:
        tower: text backbone of KerasHub.
        ids: for each id of the vocabulary that of the tower; the first is of padding.
        start, end: the tower's ids of `[CLS]` and `[SEP]`.

    Call arguments:
        words: `(..., N)` int32, 0 at padding, which stands on the right.

    Returns:
        `(..., N, C)`; 0 at padding.

    Raises:
        ValueError: if an id is beyond the table of the tower, or N is more than it takes.
    """

    def __init__(self, tower, ids, start, end, **kwargs):
        super().__init__(autocast=False, **kwargs)
        largest = max(*ids, start, end)
        if largest >= tower.vocabulary_size:
            raise ValueError(
                f"wanted ids below {tower.vocabulary_size}, the rows of the text encoder's table. "
                f"Received: {largest}"
            )
        self.tower = tower
        self.ids, self.start, self.end = list(ids), start, end
        self.input_dim = len(self.ids)  # as in `Embedding`

    def build(self, words_shape):
        longest = self.tower.max_sequence_length - 2
        if words_shape[-1] > longest:
            raise ValueError(
                f"wanted {longest} words per expression at most, which the text encoder takes. "
                f"Received: max_words={words_shape[-1]}"
            )
        self.built = True

    def call(self, words, training=None):
        count = words.shape[-1]
        rows = ops.reshape(words, (-1, count))  # (R, N)
        is_word = ops.not_equal(rows, 0)
        length = ops.sum(ops.cast(is_word, "int32"), axis=-1, keepdims=True)  # (R, 1)
        tokens = ops.take(np.array(self.ids, "int32"), rows, axis=0)
        tokens = ops.pad(tokens, [[0, 0], [1, 1]], constant_values=self.ids[0])
        place = np.arange(count + 2, dtype="int32")[None]
        tokens = ops.where(ops.equal(place, length + 1), self.end, tokens)
        tokens = ops.where(ops.equal(place, 0), self.start, tokens)
        inputs = {
            "token_ids": tokens,
            "padding_mask": ops.cast(ops.less(place, length + 2), "int32"),
            "segment_ids": ops.zeros_like(tokens),
        }
        inputs = {name: inputs[name] for name in self.tower.input}
        # A frozen encoder gives in training what it gives in use: without dropout.
        output = self.tower(inputs, training=training if self.trainable else False)
        if isinstance(output, dict):
            output = output["sequence_output"]
        vectors = ops.where(is_word[..., None], output[:, 1:-1], 0)
        return ops.reshape(vectors, (*ops.shape(words), vectors.shape[-1]))

    def compute_output_shape(self, words_shape):
        return (*words_shape, self.tower.hidden_dim)

    def get_config(self):
        return {
            **super().get_config(),
            "tower": keras.saving.serialize_keras_object(self.tower),
            "ids": self.ids,
            "start": self.start,
            "end": self.end,
        }

    @classmethod
    def from_config(cls, config):
        require("keras_hub", "pretrained", "A model with a text encoder of KerasHub")
        return cls(keras.saving.deserialize_keras_object(config.pop("tower")), **config)


def static_vectors(path, words=(), most=20_000, max_words=MAX_WORDS, trainable=False):
    """Word vectors of a text file, such as GloVe's and fastText's, as the words of a model.

    The vocabulary then has words that training never shows.

    Args:
        path: of the file: a word and its numbers a line, between spaces; the most frequent first. A
            first line of two numbers, as fastText has, is passed over.
        words: words to keep wherever they stand, such as those of the training expressions.
        most: how many of the first words of the file to keep beside them.
        max_words: words per expression N.
        trainable: whether training changes the vectors.

    Returns:
        `(encoder, vocabulary)`: an `Embedding` from ids to `(..., C)`, and the `Vocabulary` for the
        preprocessor. `[UNK]` has the mean vector.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it has no such lines.
    """
    wanted, vectors = set(words), {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1:
                most += 1
                continue
            if not (number <= most or word in wanted) or not Vocabulary.is_valid_word(word):
                continue
            if word in vectors:  # GloVe's largest file has words with spaces, "at name@domain.com"
                continue
            try:
                vectors[word] = np.array(values, "float32")
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number}: wanted a word and its numbers. {error}"
                ) from None
            length = len(next(iter(vectors.values())))
            if len(values) != length:
                raise ValueError(
                    f"{path}, line {number}: wanted {length} numbers as in the lines before. "
                    f"Received: {len(values)}"
                )
    if not vectors:
        raise ValueError(f"wanted a file of words and their vectors. Received: {path}, with none")
    vocabulary = Vocabulary(list(vectors), max_words)
    known = np.stack(list(vectors.values()))
    table = np.concatenate([np.zeros_like(known[:1]), known.mean(0, keepdims=True), known])
    encoder = layers.Embedding(*table.shape, trainable=trainable, name="word_vectors")
    encoder.build(None)
    encoder.set_weights([table])
    return encoder, vocabulary
