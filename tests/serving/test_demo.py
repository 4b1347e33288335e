"""The demo page: in a real browser, and what it leaves behind."""

import base64
import contextlib
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


@contextlib.contextmanager
def running(temporary, home, *command):
    """The page as a process of its own: `(process, url, its folder for temporary files)`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, *map(str, command), str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("keras-cmsa demo: http"), line
        yield process, line.split()[-1], temporary
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def server(preset, tmp_path_factory):
    """`keras-cmsa demo`."""
    command = ("-m", "keras_cmsa.cli.main", "demo", "--model", preset, "--port")
    folders = (tmp_path_factory.mktemp(name) for name in ("temporary", "home"))
    with running(*folders, *command) as found:
        yield found


SHORT_LIVED = """
import sys
from keras_cmsa import Predictor
from keras_cmsa.serving.demo import serve
serve(Predictor.from_preset(sys.argv[1]), port=int(sys.argv[2]), lifetime=1)
"""


@pytest.fixture(scope="module")
def short_lived(preset, tmp_path_factory):
    """The same page, where an upload stays for a second: its URL and its folder."""
    pytest.importorskip("gradio")
    folders = (tmp_path_factory.mktemp(name) for name in ("temporary", "home"))
    with running(*folders, "-c", SHORT_LIVED, preset) as (_, url, temporary):
        yield url, temporary


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
    from keras_cmsa.explain.drawing import outlined_overlay

    pixels = photo()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    page.fill("#sentences textarea", "\n".join(SENTENCES))
    page.click("#find")
    masks = drawn(page, "mask")
    expected = predictor(pixels, SENTENCES)
    assert len(masks) == len(drawn(page, "probability")) == 2
    assert any(0 < prediction.mask.mean() < 1 for prediction in expected)
    for picture, prediction in zip(masks, expected):
        np.testing.assert_array_equal(picture, outlined_overlay(pixels, prediction.mask))
    # Written as text, not run as markup.
    assert page.locator("#answers h3").all_text_contents() == SENTENCES
    assert page.locator("#answers h3 b").count() == 0
    words = page.locator("#answers table.importance").first.locator("th")
    assert words.all_text_contents() == expected[0].tokens
    assert page.locator("#answers details").count() == 2  # Figs. 4 and 5, when asked for
    assert not page.locator("#answers img.channel").first.is_visible()
    page.locator("#answers summary").first.click()
    assert page.locator("#answers img.channel").first.is_visible()


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


def post(url, *files, route="upload", field="files"):
    """What the page answers to an upload of `(name, content)`s."""
    import httpx

    return httpx.post(f"{url}gradio_api/{route}", files=[(field, x) for x in files], timeout=30)


def fetched(url, path):
    import httpx

    return httpx.get(f"{url}gradio_api/file={path}", timeout=30)


@pytest.mark.slow
def test_what_a_visitor_uploads_is_no_page_of_ours(short_lived):
    """A browser saves it and does not run it; the examples are shown."""
    url, folder = short_lived
    page = b"<script>alert(1)</script>"
    for name in ("page.html", "picture.svg", "page.xhtml", "script.js", "page"):
        (path,) = post(url, (name, page)).json()
        answer = fetched(url, path)
        assert answer.content == page
        assert answer.headers["content-disposition"].startswith("attachment"), name
        assert answer.headers["content-type"] == "application/octet-stream"
    for path in (Path(__file__), folder, "/etc/passwd"):
        assert fetched(url, path).status_code == 403
    examples = list(folder.rglob("example_*.jpg"))
    assert examples
    for path in examples:
        answer = fetched(url, path)
        assert answer.headers["content-type"] == "image/jpeg"
        assert "inline" in answer.headers["content-disposition"]


@pytest.mark.slow
def test_an_upload_leaves_nothing_and_is_bounded_in_sum(short_lived):
    url, folder = short_lived
    before = at_rest(folder)
    half = b"x" * (8 * 2**20)
    assert post(url, ("one.jpg", half)).status_code == 200
    assert set(folder.rglob("*")) - before
    assert post(url, ("one.jpg", half), ("two.jpg", half + b"y")).status_code == 413
    assert post(url, *[(f"{i}.jpg", b"x" * 2**20) for i in range(17)]).status_code == 413
    assert post(url, ("video", half), route="process_recording", field="video").status_code == 200
    assert at_rest(folder) == before  # and no example is lost


def at_rest(folder):
    """What lies in a folder once uploads that stay for a second are swept."""
    time.sleep(4)
    return set(folder.rglob("*"))


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

    usual = tempfile.gettempdir()
    sweeper = Sweeper(lifetime=0.2, every=0.1)
    try:
        assert sweeper.folder.parent == Path(usual) and tempfile.gettempdir() == str(sweeper.folder)
        (sweeper.folder / "examples").mkdir()
        (sweeper.folder / "examples/example.jpg").write_text("kept")
        sweeper.start()
        (sweeper.folder / "hash/deeper").mkdir(parents=True)
        (sweeper.folder / "hash/deeper/upload.jpg").write_text("swept")
        (sweeper.folder / "empty").mkdir()
        time.sleep(1)
        left = sorted(path.name for path in sweeper.folder.rglob("*"))
        assert left == ["example.jpg", "examples"]
    finally:
        sweeper.close()
    assert not sweeper.folder.exists() and tempfile.gettempdir() == usual


def test_without_gradio(monkeypatch):
    from keras_cmsa.serving.demo import gradio

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[demo\]"'):
        gradio()
