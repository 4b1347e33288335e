"""The demo page: in a real browser, and what it leaves behind."""

import base64
import contextlib
import importlib.util
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

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
    """The page as a process of its own: it, its URL, its temporary files, its standard error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(home)}
    with open(home / "errors", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, *map(str, command), str(port)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        line = process.stdout.readline()
        assert line.startswith("keras-cmsa demo: http"), line
        yield process, line.split()[-1], temporary, home / "errors"
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
serve(Predictor.from_preset(sys.argv[1]), port=int(sys.argv[2]), sweep_every=1)
"""


@pytest.fixture(scope="module")
def short_lived(preset, tmp_path_factory):
    """The same page, where an upload stays for two seconds: its URL and its folder."""
    pytest.importorskip("gradio")
    folders = (tmp_path_factory.mktemp(name) for name in ("temporary", "home"))
    with running(*folders, "-c", SHORT_LIVED, preset) as (_, url, temporary, _):
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
def test_what_cannot_be_answered_is_said_on_the_page_alone(page, server, tmp_path):
    page.click("#find")
    page.wait_for_selector("text=Drop a photo first", timeout=30_000)
    # Small as a file, 40 million pixels.
    Image.new("1", (8000, 5000)).save(tmp_path / "vast.png")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "text.jpg").write_text("no photo")
    for name, said in (
        ("vast.png", "/The photo.*1 to 30,000,000/"),
        ("photo.heic", "/The photo is not an image.*Wanted one of JPEG/"),
        ("text.jpg", "/The photo is not an image.*Wanted one of JPEG/"),
    ):
        page.reload()
        page.set_input_files("#photo input[type=file]", str(tmp_path / name))
        page.wait_for_selector(f"text={said}", timeout=30_000)
    assert page.locator("#answers img").count() == 0
    assert "Traceback" not in server[3].read_text()


@pytest.mark.slow
@needs_browser
def test_uploads_are_gone_within_a_minute_and_all_at_exit(server, browser, tmp_path):
    process, url, temporary, _ = server
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
    assert list(temporary.glob("keras-cmsa-demo-*"))
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert not list(temporary.glob("keras-cmsa-demo-*"))


def post(url, *files, route="upload", field="files"):
    """What the page answers to an upload of `(name, content)`s."""
    import httpx

    return httpx.post(f"{url}gradio_api/{route}", files=[(field, x) for x in files], timeout=30)


def fetched(url, path):
    import httpx

    return httpx.get(f"{url}gradio_api/file={path}", timeout=30)


@pytest.mark.slow
def test_what_a_visitor_uploads_is_no_page_of_ours(short_lived):
    """A browser saves it and does not run it."""
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


@pytest.mark.slow
def test_the_page_answers_to_its_own_name_and_tells_no_folder(short_lived):
    import httpx

    url, folder = short_lived
    for route in ("", "config"):
        answer = httpx.get(url + route, timeout=30)
        assert answer.status_code == 200 and str(folder) not in answer.text
        # A name of somebody else's that leads to this machine.
        answer = httpx.get(url + route, headers={"host": "other.example:7860"}, timeout=30)
        assert (answer.status_code, answer.text) == (400, "Invalid host header")
    port = url.rsplit(":", 1)[1]
    assert httpx.get(url, headers={"host": f"localhost:{port}"[:-1]}, timeout=30).status_code == 200


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
    assert at_rest(folder) == before


def at_rest(folder):
    """What lies in a folder once uploads that stay for two seconds are swept."""
    time.sleep(5)
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


def test_a_sweep_takes_what_the_one_before_saw(tmp_path):
    from keras_cmsa.serving.demo import sweep

    photo, there = tmp_path / "hash/photo.jpg", []

    def upload():
        photo.parent.mkdir(exist_ok=True)
        photo.write_text("photo")

    def upload_again():
        upload()
        os.utime(photo, ns=(0, 7))  # the clock was set back

    def look():
        there.append(len(list(tmp_path.rglob("*"))))

    # What happens before each sweep; the last ends them.
    steps = iter([upload, look, look, look, look, upload, upload_again, look, look, lambda: True])
    sweep(tmp_path, 1, SimpleNamespace(wait=lambda seconds: next(steps)()))
    assert there[0] == 2 and there[1] < 2 and there[3] == 0  # the folder after its file
    assert there[4] == 2 and there[5] < 2


def test_a_folder_for_temporary_files():
    from keras_cmsa.serving.demo import swept_folder

    usual = tempfile.gettempdir()
    with swept_folder(every=60) as folder:
        assert tempfile.gettempdir() == folder and Path(folder).parent == Path(usual)
    assert tempfile.gettempdir() == usual and not Path(folder).exists()


def test_without_gradio(monkeypatch):
    from keras_cmsa.serving.demo import gradio

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[demo\]"'):
        gradio()
