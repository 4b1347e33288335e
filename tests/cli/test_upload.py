"""`keras-cmsa upload`: what it calls, and bad input. tests/presets/test_hub.py has the rest."""

from command import refused, run

from keras_cmsa.presets import hub


def test_the_address_is_printed(capsys, preset, monkeypatch):
    calls = []
    monkeypatch.setattr(hub, "upload", lambda *a: calls.append(a) or "https://hub/user/name")
    assert run("upload", preset, "hf://user/name") == 0
    assert calls == [(preset, "hf://user/name")]
    assert capsys.readouterr().out == "https://hub/user/name\n"


def test_bad_input_is_one_line(capsys, preset, tmp_path):
    for folder, address, message in [
        (tmp_path, "hf://user/name", "is no preset: config.json, model.keras"),
        (preset, "user/name", "wanted hf://user/name"),
        (preset, "kaggle://user/cmsa/keras/unc", "uploads go there alone"),
    ]:
        assert message in refused(capsys, "upload", folder, address)
