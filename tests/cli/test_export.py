"""`keras-cmsa export`: numbers of versions, and options that reach the export."""

from pathlib import Path

import pytest
import tiny
from command import refused, run

from keras_cmsa.cli.export import next_version
from keras_cmsa.export import network, portable, saved_model
from keras_cmsa.export.saved_model import ExportOptions
from keras_cmsa.presets.files import read_config

pytest.importorskip("tensorflow")


@pytest.fixture
def exports(monkeypatch):
    """What would be exported, instead of the export itself, which takes seconds."""
    calls = []

    def export(*arguments):
        calls.append(arguments)
        folder = next(x for x in arguments if isinstance(x, Path))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(bytes(3 * 2**20))
        return folder

    monkeypatch.setattr(saved_model, "export_saved_model", export)
    monkeypatch.setattr(portable, "export_onnx", lambda *a: export("onnx", *a))
    monkeypatch.setattr(portable, "export_litert", lambda *a: export("litert", *a))
    return calls


def test_options_reach_the_export(capsys, exports, preset, tmp_path):
    options = ["--dtype", "bfloat16", "--profile", "tf_phrasecut", "--no-warmup"]
    asked = ["export", tmp_path / "cmsa", "--model", preset]
    assert run(*asked, *options, "--version", 9) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'cmsa'}: 3.0 MiB\n"
    (((model, preprocessor, config), folder, version, found),) = exports
    assert model.name == "cmsa" and preprocessor.image_size == 16
    assert (folder, version) == (tmp_path / "cmsa", 9)
    assert found == ExportOptions(profile="tf_phrasecut", dtype="bfloat16", warmup=False)
    assert config == read_config(preset)
    assert run(*asked) == 0
    assert exports[-1][2:] == (1, ExportOptions())


def test_the_next_version(tmp_path):
    assert next_version(tmp_path / "none") == next_version(tmp_path) == 1
    for name in ("3", "11", "12a", ".13.partial", "notes"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == 12


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_other_forms(capsys, exports, preset, tmp_path, form):
    path = tmp_path / "folder"
    asked = ["export", path, "--model", preset, "--format", form]
    assert run(*asked) == 0
    ((name, (model, preprocessor, config), folder, calibration),) = exports
    assert name == form and model.name == "cmsa" and preprocessor.max_words == 5
    assert folder == path and config == read_config(preset) and calibration is None
    assert capsys.readouterr().out == f"{path}: 3.0 MiB\n"
    message = f"--profile, --no-warmup is for --format saved_model. Received: {form}"
    assert message in refused(capsys, *asked, "--profile", "tf_phrasecut", "--no-warmup")
    for option in ("--version 2", "--dtype float16"):
        named = option.removesuffix(" 2")
        assert f"{named} is for --format" in refused(capsys, *asked, *option.split())


@pytest.mark.filterwarnings("ignore:counts differ")
@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_the_images_of_an_export_in_int8(capsys, exports, preset, tmp_path, form):
    asked = ["export", tmp_path / "folder", "--model", preset, "--format", form]
    data = tiny.refer_root(tmp_path / "data", {"train": 4, "val": 1})
    assert run(*asked, "--dtype", "int8", "--calibrate", data) == 0
    ((*_, calibration),) = exports
    assert [(r.split, r.image_id) for r in calibration] == [("train", n) for n in (1, 2, 3, 4)]
    empty = tiny.refer_root(tmp_path / "empty", {"val": 1})
    message = refused(capsys, *asked, "--dtype", "int8", "--calibrate", empty)
    assert "train" in message
    for options in ("--dtype int8", "--calibrate x.csv"):
        assert "--dtype int8 needs --calibrate" in refused(capsys, *asked, *options.split())
    for options in ("--dataset refcocog", "--text name"):
        assert "flags of a data set with --calibrate" in refused(capsys, *asked, *options.split())
    assert len(exports) == 1


def test_a_saved_model_has_no_int8(capsys, exports, preset, tmp_path):
    asked = ["export", tmp_path / "cmsa", "--model", preset, "--dtype", "int8"]
    wanted = "--dtype int8 is for --format onnx, litert or fastest. Received: saved_model"
    assert wanted in refused(capsys, *asked, "--calibrate", "x.csv")
    assert not exports


def test_what_computes_something_else_is_one_line(capsys, preset, tmp_path, monkeypatch):
    def other(*_):
        raise network.OtherOutputs("gives other logits")

    monkeypatch.setattr(saved_model, "network_for_export", other)
    asked = ["export", tmp_path / "cmsa", "--model", preset, "--no-warmup"]
    assert "gives other logits" in refused(capsys, *asked)


def test_bad_input_is_one_line(capsys, preset, tmp_path):
    (tmp_path / "cmsa" / "5").mkdir(parents=True)
    asked = ["export", tmp_path / "cmsa", "--model", preset]
    assert "is there already, and may be in service" in refused(capsys, *asked, "--version", "5")
    assert "--version must be at least 1. Received: 0" in refused(capsys, *asked, "--version", "0")
    assert "is there already" in refused(capsys, *asked, "--format", "onnx")
    assert "is no preset" in refused(capsys, "export", tmp_path / "cmsa", "--model", tmp_path)
    assert [path.name for path in (tmp_path / "cmsa").iterdir()] == ["5"]
