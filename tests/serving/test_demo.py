"""The demo page: in a real browser, and what it leaves behind."""

import base64
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_cmsa.explain.drawing import outlined_overlay
from keras_cmsa.serving.demo import gradio, render, sweep

httpx = pytest.importorskip("httpx")
BROWSERS = "chromium", "chromium-browser", "google-chrome"
SENTENCES = ["red box on the left", "<b>blue</b> box"]


def photo(size=(60, 90), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype("uint8")


# `keras-cmsa demo`, where an upload stays for four seconds.
SHORT_LIVED = """
import sys
from keras_cmsa.cli.main import main
from keras_cmsa.serving import demo
assert 2 * demo.SWEEP_EVERY < 60
demo.SWEEP_EVERY = 2
main(["demo", "--model", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def server(preset, tmp_path_factory):
    """The page as a process of its own: it, its URL, its temporary files, its standard error."""
    pytest.importorskip("gradio")
    temporary, home = (tmp_path_factory.mktemp(name) for name in ("temporary", "home"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(home)}
    command = [sys.executable, "-c", SHORT_LIVED, preset, "--port", str(port)]
    options = {"env": environment, "stdout": subprocess.PIPE, "text": True}
    with (
        open(home / "errors", "w") as errors,
        subprocess.Popen(command, stderr=errors, **options) as process,
    ):
        line = process.stdout.readline()
        try:
            assert line.startswith("keras-cmsa demo: http"), line
            yield process, line.split()[-1], temporary, home / "errors"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra test")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1200, 900), (390, 844)], ids=["desk", "phone"])
def page(request, browser, server):
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
def test_upload_type_and_see_the_predictors_masks(page, predictor, tmp_path):
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
def test_an_example_is_one_click_and_a_button_away(page):
    page.locator("table tbody tr").first.click()
    seen(page)
    assert page.input_value("#sentences textarea").strip()
    page.click("#find")
    assert drawn(page, "mask")[0].shape == (240, 240, 3)


@pytest.mark.slow
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


def post(url, *files, route="upload", field="files"):
    """What the page answers to an upload of `(name, content)`s."""
    return httpx.post(f"{url}gradio_api/{route}", files=[(field, x) for x in files], timeout=30)


def fetched(url, path):
    return httpx.get(f"{url}gradio_api/file={path}", timeout=30)


@pytest.mark.slow
def test_what_a_visitor_uploads_is_no_page_of_ours(server):
    """A browser saves it and does not run it."""
    _, url, folder, _ = server
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
def test_the_page_answers_to_its_own_name_and_tells_no_folder(server):
    _, url, folder, _ = server
    for route in ("", "config"):
        answer = httpx.get(url + route, timeout=30)
        assert answer.status_code == 200 and str(folder) not in answer.text
        # A name of somebody else's that leads to this machine.
        answer = httpx.get(url + route, headers={"host": "other.example:7860"}, timeout=30)
        assert (answer.status_code, answer.text) == (400, "Invalid host header")
    port = url.rsplit(":", 1)[1]
    assert httpx.get(url, headers={"host": f"localhost:{port}"[:-1]}, timeout=30).status_code == 200


@pytest.mark.slow
def test_an_upload_leaves_nothing_and_is_bounded_in_sum(server):
    _, url, folder, _ = server
    before = files(folder)
    half = b"x" * (8 * 2**20)
    assert post(url, ("one.jpg", half)).status_code == 200
    assert files(folder) - before
    assert post(url, ("one.jpg", half), ("two.jpg", half + b"y")).status_code == 413
    assert post(url, *[(f"{i}.jpg", b"x" * 2**20) for i in range(17)]).status_code == 413
    assert post(url, ("video", half), route="process_recording", field="video").status_code == 200
    soon(lambda: files(folder) <= before)


def files(folder):
    """The paths in a folder; `Path.rglob` raises where one is gone meanwhile."""
    walk = os.walk(folder)
    return {Path(root, name) for root, folders, names in walk for name in [*folders, *names]}


def soon(condition):
    """Waits until a condition holds: a sweep comes when the machine has time for it."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.5)


@pytest.mark.slow
def test_uploads_are_gone_soon_and_all_at_exit(browser, server, tmp_path):
    process, url, temporary, _ = server
    page = browser.new_page()
    page.goto(url)
    Image.new("RGB", (1600, 3200)).save(tmp_path / "private.png")
    upload(page, tmp_path / "private.png")
    soon(lambda: not any(path.stem == "private" for path in files(temporary)))
    # The photo is still there to be asked about, at the page's size.
    page.fill("#sentences textarea", SENTENCES[0])
    page.click("#find")
    assert drawn(page, "mask")[0].shape == (1600, 800, 3)
    page.close()
    assert list(temporary.glob("keras-cmsa-demo-*"))
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert not list(temporary.glob("keras-cmsa-demo-*"))


def test_render_says_what_is_missing(predictor):
    with pytest.raises(ValueError, match="Drop a photo"):
        render(predictor, None, "red box")
    with pytest.raises(ValueError, match="1 to 6 sentences"):
        render(predictor, photo(), " \n ")
    with pytest.raises(ValueError, match="1 to 6 sentences"):
        render(predictor, photo(), "box\n" * 7)
    with pytest.raises(ValueError, match="300 words"):
        render(predictor, photo(), "box " * 300)


def test_a_sweep_takes_what_the_one_before_saw(tmp_path):
    photo = tmp_path / "hash/photo.jpg"
    photo.parent.mkdir()
    photo.write_text("photo")
    seen = sweep(tmp_path, {})
    assert photo.exists()
    os.utime(photo, ns=(0, 7))  # it was uploaded again, and the clock set back
    seen = sweep(tmp_path, seen)
    assert photo.exists()
    seen = sweep(tmp_path, seen)
    assert not photo.exists()
    sweep(tmp_path, sweep(tmp_path, seen))
    assert not photo.parent.exists()


def test_without_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-cmsa\[demo\]"'):
        gradio()
