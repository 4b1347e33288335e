"""Of several forms of a model, the one is kept that answers fastest."""

import shutil
import sys

import numpy as np
import pytest
import tiny
from command import last_line, refused, run

from keras_cmsa import load_preset
from keras_cmsa.export import fastest
from keras_cmsa.export.network import OtherOutputs

pytest.importorskip("tensorflow")


@pytest.fixture
def exports(preset, monkeypatch):
    """Copies of the preset in place of exports, and the milliseconds that each is given."""
    for library in ("tf2onnx", "onnxruntime", "ai_edge_litert"):
        pytest.importorskip(library)
    times = {"preset": 3.0, "onnx": 2.0, "litert": 1.0, "onnx int8": 0.5, "litert int8": 4.0}

    def export(_, path, form, calibration):
        shutil.copytree(preset, path)
        (path / "form").write_text(f"{form} of {len(calibration or ())} records")
        return path

    monkeypatch.setattr(fastest, "export", export)
    monkeypatch.setattr(
        fastest, "milliseconds", lambda predictors: {n: times[n] for n in predictors}
    )
    return times


def test_the_fastest_is_kept_and_all_are_told(preset, exports, tmp_path, capsys):
    folder = tmp_path / "fast"
    assert run("export", folder, "--model", preset, "--format", "fastest") == 0
    assert (folder / "form").read_text() == "litert of 0 records"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ms")[0] for line in lines[:3]] == [
        "preset: 3.0",
        "onnx: 2.0",
        "litert: 1.0",
    ]
    assert run("export", folder, "--model", preset, "--format", "fastest") == 2
    assert "is there already" in last_line(capsys)


@pytest.mark.filterwarnings("ignore:counts differ")
def test_int8_is_tried_too(preset, exports, tmp_path, capsys):
    for library in ("ai_edge_quantizer", "onnxruntime.quantization"):
        pytest.importorskip(library)
    data, folder = tiny.refer_root(tmp_path / "data", {"train": 3}), tmp_path / "fast"
    asked = ["--model", preset, "--format", "fastest", "--dtype", "int8", "--calibrate", data]
    assert run("export", folder, *asked) == 0
    assert (folder / "form").read_text() == "onnx of 3 records"
    assert "onnx int8: 0.5 ms" in capsys.readouterr().out


def test_a_form_with_other_outputs_is_left_out_and_named(preset, exports, tmp_path, monkeypatch):
    export = fastest.export

    def other(preset, path, form, calibration):
        if form == "litert":
            raise OtherOutputs("gives other logits")
        return export(preset, path, form, calibration)

    monkeypatch.setattr(fastest, "export", other)
    with pytest.warns(UserWarning, match="litert is left out: gives other logits"):
        times = fastest.export_fastest(load_preset(preset), tmp_path / "fast")
    assert set(times) == {"preset", "onnx"}
    assert (tmp_path / "fast/form").read_text() == "onnx of 0 records"


def test_a_missing_library_is_named_before_work_begins(
    preset, exports, tmp_path, capsys, monkeypatch
):
    monkeypatch.delattr(fastest, "export")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    asked = ["export", tmp_path / "fast", "--model", preset, "--format", "fastest"]
    assert "keras-cmsa[litert]" in refused(capsys, *asked)


def test_nothing_is_written_where_the_preset_is_the_fastest(preset, exports, tmp_path, capsys):
    exports["preset"] = 0.5
    assert run("export", tmp_path / "fast", "--model", preset, "--format", "fastest") == 0
    assert not list(tmp_path.iterdir())
    assert "nothing is written" in capsys.readouterr().out


def test_each_answers_a_new_picture_every_time(predictor, monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(fastest.time, "perf_counter", lambda: Clock.now)

    class Slow:
        preprocessor = predictor.preprocessor

        def __init__(self, seconds):
            self.seconds, self.last, self.turns = seconds, None, 0

        def __call__(self, picture, sentence):
            assert self.last is None or not np.array_equal(picture, self.last)
            self.last, self.turns = picture, self.turns + 1
            Clock.now += 9.0 if self.turns <= 2 else self.seconds

    times = fastest.milliseconds({"slow": Slow(0.25), "quick": Slow(0.125)})
    assert times == {"slow": 250.0, "quick": 125.0}
