"""The demo page: in a real browser, and what it leaves behind."""

import base64
import importlib.util
import io
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
needs_browser = pytest.mark.skipif(
    not (
        CHROMIUM and importlib.util.find_spec("playwright") and importlib.util.find_spec("gradio")
    ),
    reason="needs Chromium (apt-get install chromium) and the extras demo and test",
)
SENTENCES = ["red box on the left", "<b>blue</b> box"]


def photo(size=(60, 90), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype("uint8")


@pytest.fixture(scope="module")
def server(preset, tmp_path_factory):
    """`keras-cmsa demo` as a process of its own: `(process, url, its folder for temporary files)`."""
    temporary, home = (tmp_path_factory.mktemp(name) for name in ("temporary", "home"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(home)}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "keras_cmsa.cli.main",
            "demo",
            "--model",
            preset,
            "--port",
            str(port),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert line.startswith("keras-cmsa demo: http"), line
    yield process, line.split()[-1], temporary
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1200, 900), (390, 844)], ids=["desk", "phone"])
def page(request, server, browser):
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(server[1])
    yield page
    # Nothing to scroll sideways for.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def upload(page, path):
    page.set_input_files("#photo input[type=file]", str(path))
    seen(page)


def seen(page):
    page.wait_for_selector("#photo img", timeout=30_000)
    page.wait_for_timeout(500)  # as a person would


def drawn(page, kind):
    """The pictures of a kind among the answers, decoded."""
    page.wait_for_selector(f"#answers img.{kind}", timeout=60_000)
    sources = page.eval_on_selector_all(f"#answers img.{kind}", "all => all.map(x => x.src)")
    pictures = [base64.b64decode(source.split(",")[1]) for source in sources]
    return [np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures]


@pytest.mark.slow
@needs_browser
def test_upload_type_and_see_the_predictors_masks(page, predictor, tmp_path):
    from keras_cmsa.evaluation.drawing import overlay

    pixels = photo()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    page.fill("#sentences textarea", "\n".join(SENTENCES))
    page.click("#find")
    masks = drawn(page, "mask")
    expected = predictor(pixels, SENTENCES)
    assert len(masks) == len(drawn(page, "heat")) == 2
    assert any(0 < prediction.mask.mean() < 1 for prediction in expected)
    for picture, prediction in zip(masks, expected):
        np.testing.assert_array_equal(picture, overlay(pixels, prediction.mask))
    # Written as text, not run as markup.
    assert page.locator("#answers h3").all_text_contents() == SENTENCES
    assert page.locator("#answers h3 b").count() == 0
    words = page.locator("#answers table").first.locator("tr").first.locator("th")
    assert words.all_text_contents() == ["", *expected[0].tokens]


@pytest.mark.slow
@needs_browser
def test_an_example_is_one_click_and_a_button_away(page):
    page.locator("table tbody tr").first.click()
    seen(page)
    assert page.input_value("#sentences textarea").strip()
    page.click("#find")
    assert drawn(page, "mask")[0].shape == (240, 240, 3)


@pytest.mark.slow
@needs_browser
def test_what_cannot_be_answered_is_said(page, tmp_path):
    page.click("#find")
    page.wait_for_selector("text=Drop a photo first", timeout=30_000)
    # Small as a file, 40 million pixels.
    Image.new("1", (8000, 5000)).save(tmp_path / "vast.png")
    page.set_input_files("#photo input[type=file]", str(tmp_path / "vast.png"))
    page.wait_for_selector("text=/1 to 30,000,000/", timeout=30_000)
    assert page.locator("#answers img").count() == 0


@pytest.mark.slow
@needs_browser
def test_uploads_are_gone_within_a_minute_and_all_at_exit(server, browser, tmp_path):
    process, url, temporary = server
    page = browser.new_page()
    page.goto(url)
    Image.fromarray(photo(seed=1)).save(tmp_path / "private.png")
    upload(page, tmp_path / "private.png")
    since = time.monotonic()
    assert list(temporary.rglob("private.*"))
    while list(temporary.rglob("private.*")):
        assert time.monotonic() - since < 60
        time.sleep(1)
    # The photo is still there to be asked about.
    page.fill("#sentences textarea", SENTENCES[0])
    page.click("#find")
    assert drawn(page, "mask")[0].shape == (60, 90, 3)
    page.close()
    assert [path for path in temporary.rglob("*") if path.is_file()]  # the examples
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_render_says_what_is_missing(predictor):
    from keras_cmsa.serving.demo import render

    with pytest.raises(ValueError, match="Drop a photo"):
        render(predictor, None, "red box")
    with pytest.raises(ValueError, match="1 to 6 sentences"):
        render(predictor, photo(), " \n ")
    with pytest.raises(ValueError, match="1 to 6 sentences"):
        render(predictor, photo(), "box\n" * 7)
    with pytest.raises(ValueError, match="300 words"):
        render(predictor, photo(), "box " * 300)


def test_photos_are_brought_to_the_pages_size():
    from keras_cmsa.serving.demo import MAX_SIDE, fit_to_page

    small = photo()
    assert fit_to_page(small) is small
    assert fit_to_page(np.zeros((2 * MAX_SIDE, MAX_SIDE, 3), "uint8")).shape == (1600, 800, 3)


def test_the_sweeper_takes_what_is_old_and_not_kept():
    from keras_cmsa.serving.demo import Sweeper

    sweeper = Sweeper(lifetime=0.2, every=0.1)
    try:
        assert sweeper.folder.parent == Path(tempfile.gettempdir())
        (sweeper.folder / "example.jpg").write_text("kept")
        sweeper.start()
        (sweeper.folder / "sub").mkdir()
        (sweeper.folder / "sub" / "upload.jpg").write_text("swept")
        time.sleep(1)
        assert [path.name for path in sweeper.folder.rglob("*.jpg")] == ["example.jpg"]
    finally:
        sweeper.close()
    assert not sweeper.folder.exists()


def test_without_gradio(monkeypatch):
    from keras_cmsa.serving.demo import gradio

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[demo\]"'):
        gradio()
