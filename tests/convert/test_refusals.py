"""`keras-cmsa convert`: wrong files are one line, before anything is written."""

import numpy as np
import pytest
from command import refused
from tf1_checkpoint import write_checkpoint

pytest.importorskip("tensorflow")

HEAD = {
    "text_objseg/embedding": np.zeros((8, 5), "float32"),
    "text_objseg/CMSA/conv3d/kernel": np.zeros((1, 1, 1, 18, 8), "float32"),
    "text_objseg/conv2d/kernel": np.zeros((1, 1, 18, 4), "float32"),
}


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("<pad>\n<go>\n<eos>\n<unk>\nred\nbox\n\nleft\n")  # 8 lines
    return path


@pytest.fixture
def said(capsys, tmp_path, words):
    """What `convert` says of a checkpoint, or of the values of one; nothing is written."""

    def say(checkpoint, vocabulary=words, to=tmp_path / "new"):
        if isinstance(checkpoint, dict):
            checkpoint = write_checkpoint(tmp_path / "some.ckpt", checkpoint.items())
        line = refused(capsys, "convert", checkpoint, "--vocabulary", vocabulary, "-o", to)
        assert not (tmp_path / "new").exists()
        return line

    return say


def test_files_that_are_none(tmp_path, said):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty has no checkpoint of TensorFlow" in said(empty)
    assert "gone is no checkpoint of TensorFlow" in said(tmp_path / "gone")
    assert "empty is there already: choose another name" in said(empty, to=empty)
    assert "gone.txt: No such file" in said(HEAD, tmp_path / "gone.txt")
    (tmp_path / "ours.txt").write_text("[PAD]\n[UNK]\nred\n")
    assert "is not a vocabulary of the authors' code" in said(HEAD, tmp_path / "ours.txt")


def test_a_checkpoint_of_another_model(said):
    line = said({"layer/weights": np.zeros(3, "float32")})
    assert "the authors' CMSA: wanted the variable text_objseg/embedding of 2 axes, " in line
    line = said(HEAD | {"text_objseg/conv2d/kernel": np.zeros((1, 1, 1, 1025), "float32")})
    assert "conv2d/kernel of 4 axes, the last at most 1,024 long. Received: [1, 1, 1, 1025" in line
    line = said(HEAD | {"text_objseg/embedding": np.zeros((9, 5), "float32")})
    assert "which has word vectors for 9 lines. Received: 8 lines" in line


@pytest.mark.slow
def test_a_head_without_its_backbone(said, monkeypatch):
    """Which is known before anything of the checkpoint's sizes is built."""
    from keras_cmsa.convert import released_checkpoint

    monkeypatch.delattr(released_checkpoint, "build_cmsa_released")
    wanted = "some.ckpt is of another model: 520 of 520 variables are missing, such as conv1/"
    assert wanted in said(HEAD)
