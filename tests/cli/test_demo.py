"""`keras-cmsa demo`: the page gets the model. tests/serving/test_demo.py has a browser."""

import signal

import pytest
from command import run

from keras_cmsa.serving import demo


@pytest.fixture
def served(monkeypatch):
    """What would be served, instead of a page that waits for visitors."""
    calls = []
    monkeypatch.setattr(demo, "gradio", lambda: None)
    monkeypatch.setattr(demo, "serve", lambda *arguments: calls.append(arguments))
    before = signal.getsignal(signal.SIGTERM)
    yield calls
    signal.signal(signal.SIGTERM, before)


def test_the_page_gets_the_model(models_kept, preset, predictor, served):
    assert run("demo", "--model", preset, "--host", "0.0.0.0", "--port", 7000) == 0
    assert run("demo", "--model", preset) == 0
    assert served == [(predictor, "0.0.0.0", 7000), (predictor, "127.0.0.1", 7860)]
    # What a service manager sends ends the process as an interrupt does, so that uploads go.
    with pytest.raises(SystemExit):
        signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)
