"""Presets on hubs: addresses, what is downloaded, what is uploaded."""

import json
import shutil
import sys
from unittest.mock import create_autospec

import numpy as np
import pytest

from keras_cmsa import Predictor, load_preset
from keras_cmsa.presets import hub

FILES = ("README.md", "config.json", "model.keras", "reference.npz", "vocabulary.txt")
GRAPH = {"saved_model.pb": b"evil", "variables/variables.index": b"evil", "sub/model.keras": b"x"}


@pytest.fixture
def library(monkeypatch):
    """`huggingface_hub`, whose functions keep their signatures and ask nobody."""
    library = pytest.importorskip("huggingface_hub")
    api = create_autospec(library.HfApi, instance=True)
    monkeypatch.setattr(library, "HfApi", lambda: api)
    return library


def holding(library, monkeypatch, files, folder):
    """Lets the hub have some files, of which it gives those that are allowed, by its own rule."""

    def give(_, allow_patterns):
        for name in library.utils.filter_repo_objects(files, allow_patterns=allow_patterns):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(files[name])
        return str(folder)

    download = create_autospec(library.snapshot_download, side_effect=give)
    monkeypatch.setattr(library, "snapshot_download", download)


def files_of(preset):
    return {name: (preset / name).read_bytes() for name in FILES}


def test_nothing_but_the_files_of_a_preset_comes(preset, library, tmp_path, monkeypatch):
    holding(library, monkeypatch, files_of(preset) | GRAPH | {"run.py": b"evil"}, tmp_path)
    assert hub.fetch("hf://user/name") == tmp_path
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files_of(preset)


def test_a_graph_of_a_hub_is_no_network(preset, library, tmp_path, monkeypatch):
    holding(library, monkeypatch, {"config.json": files_of(preset)["config.json"]}, tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"evil")  # another program left it there
    with pytest.raises(ValueError, match="hf://user/name is no preset: wanted model.keras"):
        load_preset("hf://user/name")


def test_an_upload_sends_the_files_of_a_preset_and_no_path(preset, library, tmp_path):
    folder = shutil.copytree(preset, tmp_path / "run")
    (folder / "history.csv").write_text("epoch,loss\n")
    config = json.loads((folder / "config.json").read_text())
    kept = {"start_from": "hf://user/other", "licence": "CC BY 4.0, https://x.org/by/4.0/"}
    paths = {"backbone_weights": "/home/me/weights.h5", **kept}
    (folder / "config.json").write_text(json.dumps(config | {"training": paths}))
    api = library.HfApi()
    api.create_commit.return_value = "https://hub/user/name"
    assert hub.upload(folder, "hf://user/name") == "https://hub/user/name"
    api.create_repo.assert_called_once_with("user/name", exist_ok=True)
    repo, files = api.create_commit.call_args.args
    sent = {}
    for file in files:
        with file.as_file() as opened:
            sent[file.path_in_repo] = opened.read()
    names = {"backbone_weights": "weights.h5", **kept}
    assert repo == "user/name"
    assert json.loads(sent.pop("config.json")) == config | {"training": names}
    assert sent.items() < files_of(preset).items() and len(sent) == 4


def test_an_upload_without_a_login(preset, library):
    library.HfApi().create_repo.side_effect = RuntimeError("401 Unauthorized\nmore")
    with pytest.raises(OSError, match="hf://user/name could not be uploaded .*hf auth") as error:
        hub.upload(preset, "hf://user/name")
    assert "\n" not in str(error.value)


def test_addresses():
    assert hub.split_address("hf://user/name") == ("hf", "user/name")
    kaggle = "user/cmsa/keras/unc"
    assert hub.split_address(f"kaggle://{kaggle}") == ("kaggle", kaggle)
    assert hub.split_address(f"kaggle://{kaggle}/2") == ("kaggle", f"{kaggle}/2")
    for address in (
        "hf://name",
        "hf://user/name/more",
        "hf://user/..",
        "hf:///name",
        "kaggle://user/cmsa",
        "s3://user/name",
        "runs/demo",
    ):
        with pytest.raises(ValueError, match="wanted hf://user/name or kaggle://"):
            hub.split_address(address)
    assert hub.is_hub_address("hf://x") and not hub.is_hub_address("runs/demo")


@pytest.mark.usefixtures("untraced")
def test_kaggle(preset, predictor, photo, monkeypatch):
    """Its files come one by one, by their names."""
    kagglehub = pytest.importorskip("kagglehub")
    download = create_autospec(kagglehub.model_download, side_effect=lambda _, name: preset / name)
    monkeypatch.setattr(kagglehub, "model_download", download)
    found = Predictor.from_preset("kaggle://user/cmsa/keras/unc")
    np.testing.assert_array_equal(found(photo, "box").mask, predictor(photo, "box").mask)
    names = ("config.json", "model.keras", "vocabulary.txt", "reference.npz")
    assert [c.args for c in download.call_args_list] == [("user/cmsa/keras/unc", n) for n in names]
    missing = kagglehub.exceptions.KaggleApiHTTPError("404", response=None)
    download.side_effect = [*(preset / name for name in names[:3]), missing]
    assert hub.fetch("kaggle://user/cmsa/keras/unc") == preset
    download.side_effect = RuntimeError("403 Client Error\nmore than a line")
    with pytest.raises(OSError, match="could not be downloaded .*403 Client Error") as error:
        hub.fetch("kaggle://user/cmsa/keras/unc")
    assert "\n" not in str(error.value)


def test_without_the_libraries(monkeypatch, preset):
    for name, address in (("huggingface_hub", "hf://a/b"), ("kagglehub", "kaggle://a/b/keras/c")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[hub\]"'):
            hub.fetch(address)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[hub\]"'):
        hub.upload(preset, "hf://a/b")


def test_what_cannot_be_uploaded(preset, tmp_path):
    with pytest.raises(ValueError, match="uploads go there alone"):
        hub.upload(preset, "kaggle://user/cmsa/keras/unc")
    with pytest.raises(ValueError, match="wanted hf://user/name"):
        hub.upload(preset, "user/name")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"model\.keras, vocabulary\.txt, README\.md not"):
        hub.upload(tmp_path, "hf://user/name")
