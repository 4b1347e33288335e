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


def test_files_that_are_none(capsys, tmp_path, words):
    empty = tmp_path / "empty"
    empty.mkdir()
    output = tmp_path / "new"

    def said(checkpoint, vocabulary=words, to=output):
        return refused(capsys, "convert", checkpoint, "--vocabulary", vocabulary, "-o", to)

    assert "empty has no checkpoint of TensorFlow" in said(empty)
    assert "gone is no checkpoint of TensorFlow" in said(tmp_path / "gone")
    assert "empty is there already: give another folder" in said(empty, to=empty)
    head = write_checkpoint(tmp_path / "head.ckpt", HEAD.items())
    assert "gone.txt: No such file" in said(head, tmp_path / "gone.txt")
    (tmp_path / "ours.txt").write_text("[PAD]\n[UNK]\nred\n")
    assert "is not a vocabulary of the authors' code" in said(head, tmp_path / "ours.txt")
    assert not output.exists()


def test_a_checkpoint_of_another_model(capsys, tmp_path, words):
    output = tmp_path / "new"

    def said(values):
        path = write_checkpoint(tmp_path / f"{len(list(tmp_path.iterdir()))}.ckpt", values.items())
        return refused(capsys, "convert", path, "--vocabulary", words, "-o", output)

    other = {"layer/weights": np.zeros(3, "float32")}
    assert (
        "is not of the authors' CMSA: wanted the variable text_objseg/embedding of 2 axes, "
        in said(other)
    )
    wide = {**HEAD, "text_objseg/conv2d/kernel": np.zeros((1, 1, 1, 1025), "float32")}
    assert "conv2d/kernel of 4 axes, the last at most 1,024 long. Received: [1, 1, 1, 1025" in said(
        wide
    )
    short = {**HEAD, "text_objseg/embedding": np.zeros((9, 5), "float32")}
    assert "which has word vectors for 9 lines. Received: 8 lines" in said(short)
    assert not output.exists()


@pytest.mark.slow
def test_a_head_without_its_backbone(capsys, tmp_path, words, monkeypatch):
    """Which is known before anything of the checkpoint's sizes is built."""
    from keras_cmsa.convert import released_checkpoint

    monkeypatch.delattr(released_checkpoint, "build_cmsa_released")
    path = write_checkpoint(tmp_path / "head.ckpt", HEAD.items())
    line = refused(capsys, "convert", path, "--vocabulary", words, "-o", tmp_path / "new")
    assert "head.ckpt is of another model: 520 of 520 variables are missing, such as conv1/" in line
    assert not (tmp_path / "new").exists()
