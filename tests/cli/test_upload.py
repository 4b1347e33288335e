"""`keras-cmsa upload`: what it calls. tests/presets/test_hub.py has the rest."""

from command import run

from keras_cmsa.presets import hub


def test_the_address_is_printed(capsys, preset, monkeypatch):
    calls = []
    monkeypatch.setattr(hub, "upload", lambda *a: calls.append(a) or "https://hub/user/name")
    assert run("upload", preset, "hf://user/name") == 0
    assert calls == [(preset, "hf://user/name")]
    assert capsys.readouterr().out == "https://hub/user/name\n"
