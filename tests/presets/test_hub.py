"""Presets on hubs, against a hub on this machine: addresses, downloads, uploads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer
from PIL import Image

from keras_cmsa.presets import hub

FILES = ("README.md", "config.json", "model.keras", "vocabulary.txt")


@pytest.fixture
def server():
    pytest.importorskip("huggingface_hub")
    with HubServer() as running:
        yield running


@pytest.fixture
def ask(server, tmp_path):
    """Runs Python with that hub, since huggingface_hub reads the environment when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": server.token,
    }

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment | variables,
            capture_output=True,
            text=True,
        )

    return run


COMMAND = ("-m", "keras_cmsa.cli.main")
# Prints the folder of each address, or the error.
FETCH = """
import sys
from keras_cmsa.presets.hub import fetch
for address in sys.argv[1:]:
    try:
        print(fetch(address))
    except (OSError, ValueError) as error:
        print(type(error).__name__, error)
"""


def files_of(preset):
    return {name: (preset / name).read_bytes() for name in FILES}


def test_an_upload_sends_the_files_of_a_preset_and_no_more(preset, server, ask, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(preset, folder)
    (folder / "history.csv").write_text("epoch,loss\n")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "config.json").write_text("{}")
    done = ask(*COMMAND, "upload", folder, "hf://user/name")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{server.url}/user/name")
    assert server.repos == {"user/name": files_of(preset)}


@pytest.mark.slow
def test_a_preset_on_the_hub_is_a_model_to_the_commands(
    preset, predictor, server, ask, photo, tmp_path
):
    server.repos["user/name"] = files_of(preset)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    asked = ("segment", tmp_path / "photo.png", "red box", "--model", "hf://user/name")
    done = ask(*COMMAND, *asked, "--mask", tmp_path / "mask.png", "--json")
    assert done.returncode == 0, done.stderr
    expected = predictor(photo, "red box")
    assert json.loads(done.stdout)["area"] == expected.mask.sum() > 0
    mask = np.asarray(Image.open(tmp_path / "mask.png"))
    np.testing.assert_array_equal(mask, 255 * expected.mask)


def test_downloads_come_once_and_only_the_files_of_a_preset(preset, server, ask):
    server.repos["user/name"] = files_of(preset) | {"run.py": b"evil", "weights/more.bin": b"evil"}
    done = ask("-c", FETCH, "hf://user/name", "hf://user/none")
    folder, missing = done.stdout.splitlines()
    found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert found == files_of(preset)
    assert missing.startswith("OSError hf://user/none could not be downloaded")
    # Without a way to the hub, what was downloaded is still there.
    done = ask("-c", FETCH, "hf://user/name", "hf://user/none", HF_HUB_OFFLINE="1")
    assert done.stdout.splitlines()[0] == folder
    assert done.stdout.splitlines()[1].startswith("OSError hf://user/none could not be")


def test_a_name_that_leads_out_is_refused(preset, server, ask, tmp_path):
    server.repos["user/name"] = files_of(preset)
    server.listed["user/name"] = ["../evil.txt"]
    done = ask("-c", FETCH, "hf://user/name")
    wanted = "hf://user/name is refused: the file name '../evil.txt' leads out of its folder"
    assert done.stdout == f"ValueError {wanted}\n"
    assert not list((tmp_path / "home").rglob("*.keras"))


def test_an_upload_without_a_login(preset, server, ask):
    done = ask(*COMMAND, "upload", preset, "hf://user/name", HF_TOKEN="wrong")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("keras-cmsa: hf://user/name could not be uploaded")
    assert "hf auth login" in last and not server.repos


# --- Without a hub


@pytest.mark.parametrize("name", ["/etc/evil", "a/../../evil", "..\\evil", "../evil"])
def test_names_that_lead_out(name):
    hub.check_names(["config.json", "a/b.txt", "a..b"], "hf://user/name")
    with pytest.raises(ValueError, match="leads out of its folder"):
        hub.check_names(["config.json", name], "hf://user/name")


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


def test_kaggle(preset, predictor, photo, monkeypatch):
    from keras_cmsa import Predictor

    kagglehub = pytest.importorskip("kagglehub")
    asked = []
    monkeypatch.setattr(kagglehub, "model_download", lambda x: asked.append(x) or str(preset))
    found = Predictor.from_preset("kaggle://user/cmsa/keras/unc")
    assert asked == ["user/cmsa/keras/unc"]
    np.testing.assert_array_equal(found(photo, "box").mask, predictor(photo, "box").mask)


def test_kaggle_fails(monkeypatch):
    kagglehub = pytest.importorskip("kagglehub")

    def fail(_):
        raise RuntimeError("403 Client Error\nmore than a line")

    monkeypatch.setattr(kagglehub, "model_download", fail)
    with pytest.raises(OSError, match="403 Client Error") as error:
        hub.fetch("kaggle://user/cmsa/keras/unc")
    assert "\n" not in str(error.value) and "could not be downloaded" in str(error.value)


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
