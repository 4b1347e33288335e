"""Checkpoints of TensorFlow: their names on the disk, and files that are not whole."""

import numpy as np
import pytest
from tf1_checkpoint import write_checkpoint

from keras_cmsa.convert.checkpoints import TensorFlowCheckpoint, is_checkpoint, prefix_of

pytest.importorskip("tensorflow")

VALUES = {"a/weights": np.arange(6, dtype="float32").reshape(2, 3), "step": np.array(7, "int64")}


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "model.ckpt", VALUES.items())


def test_every_way_to_name_it(checkpoint):
    ways = [checkpoint, str(checkpoint), checkpoint.parent]
    ways += [f"{checkpoint}.index", f"{checkpoint}.data-00000-of-00001"]
    for way in ways:
        assert is_checkpoint(way) and prefix_of(way) == checkpoint
        read = TensorFlowCheckpoint(way)
        assert read.shapes == {"a/weights": [2, 3], "step": []}
        np.testing.assert_array_equal(read.read("a/weights"), VALUES["a/weights"])
        assert read.read("step") == 7


def test_the_older_format_is_one_file(tmp_path):
    path = write_checkpoint(tmp_path / "old.ckpt", VALUES.items(), version=1)
    assert [x.name for x in tmp_path.iterdir()] == ["old.ckpt"] and is_checkpoint(path)
    np.testing.assert_array_equal(TensorFlowCheckpoint(path).read("a/weights"), VALUES["a/weights"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"old.ckpt is no checkpoint of TensorFlow, or not whole"):
        TensorFlowCheckpoint(path)


def test_what_is_no_checkpoint(checkpoint, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "note.txt").write_text("no")
    for path, error, said in [
        (
            empty,
            FileNotFoundError,
            "empty has no checkpoint of TensorFlow: wanted a file that ends",
        ),
        (tmp_path / "gone", FileNotFoundError, "there is no gone.index beside it"),
        (
            tmp_path / "note.txt",
            ValueError,
            "note.txt is no checkpoint of TensorFlow, or not whole",
        ),
    ]:
        assert not is_checkpoint(path)
        with pytest.raises(error, match=said):
            TensorFlowCheckpoint(path)
    assert not is_checkpoint(None) and not is_checkpoint("imagenet")
    write_checkpoint(tmp_path / "other.ckpt", VALUES.items())
    with pytest.raises(ValueError, match="has several checkpoints: give one of model.ckpt, other"):
        TensorFlowCheckpoint(tmp_path)


def test_files_that_are_not_whole(checkpoint):
    data = checkpoint.with_name("model.ckpt.data-00000-of-00001")
    content = data.read_bytes()
    data.write_bytes(content[:10])
    read = TensorFlowCheckpoint(checkpoint)
    with pytest.raises(ValueError, match="model.ckpt is damaged or not whole: download it again"):
        read.read("a/weights")
    data.unlink()
    with pytest.raises(ValueError, match="model.ckpt is damaged or not whole: download it again"):
        TensorFlowCheckpoint(checkpoint).read("a/weights")
    index = checkpoint.with_name("model.ckpt.index")
    index.write_bytes(index.read_bytes()[:30])
    with pytest.raises(ValueError, match="model.ckpt is damaged or not whole: download it again"):
        TensorFlowCheckpoint(checkpoint)


def test_more_values_than_bytes(tmp_path):
    """The index names sizes at will: nobody makes arrays of those whose data are not there."""
    path = write_checkpoint(tmp_path / "large.ckpt", {"x": np.zeros((50, 40), "float32")}.items())
    data = path.with_name("large.ckpt.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"large.ckpt is damaged.*\(2,000 values in \d\d\d bytes"):
        TensorFlowCheckpoint(path)
