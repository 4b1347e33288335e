"""A page where visitors drop a photo, type expressions and see what these refer to. Extra `demo`.

On the page, an expression is called a sentence. Results are drawn as plain HTML that contains the
pictures, so no result is written to a file. An uploaded photo lies in a folder of this process; it
is deleted within a minute, and the folder at exit. What was uploaded is handed out for saving only,
since a page among the files would run as one of ours.
"""

import base64
import contextlib
import html
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from keras_cmsa.explain.drawing import MAP_COLOURS, as_grey, outlined_overlay, probability_overlay
from keras_cmsa.explain.explanations import Explainer
from keras_cmsa.explain.word_importance import excluding_words
from keras_cmsa.preprocessing.reading import read_image
from keras_cmsa.utils.extras import require
from keras_cmsa.utils.files import as_png
from keras_cmsa.utils.messages import in_words

MAX_FILE = 15 * 2**20
MAX_BODY = MAX_FILE + 2**20  # of all files of one upload, and what is said of them
MAX_PIXELS = 30_000_000  # of an upload; the photo of a phone has 12 million
MAX_SIDE = 1600  # in pixels, of a photo that is kept and shown
MAX_SENTENCES = 6
SWEEP_EVERY = 20  # seconds; an upload stays on disk for one to two of these
EXAMPLE_SIDE = 240  # in pixels
MAX_VISITORS = 50  # whose photos stay in memory, at most 8 MB each
LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]

STYLE = """
.cmsa-answers {display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr))}
.cmsa-answers section {min-width: 0}
.cmsa-answers h3 {margin: 0 0 .3rem 0; overflow-wrap: anywhere}
.cmsa-answers img {width: 100%; height: auto; display: block}
.cmsa-answers figcaption {font-size: .85rem; opacity: .8; margin-bottom: .5rem}
.cmsa-answers figure {margin: 0}
.cmsa-words {overflow-x: auto; margin-bottom: .5rem}
.cmsa-words table {border-collapse: collapse; font-size: .85rem}
.cmsa-words td, .cmsa-words th {padding: .1rem .35rem !important; text-align: center;
  font-weight: normal; white-space: nowrap; border: 0 !important}
.cmsa-words .bar {text-align: left; width: 100%; min-width: 6rem}
.cmsa-words .bar span {display: inline-block; height: .8em; background: rgb(230,159,0);
  outline: 1px solid currentColor}
.cmsa-answers summary {cursor: pointer; font-size: .85rem}
"""


def build_page(explain, examples):
    """Builds the page without serving it.

    Args:
        explain: `Explainer`.
        examples: list of `(photo, sentences)` that visitors can click: `(H, W, 3)` uint8, and a `str`
            with one sentence per line.

    Returns:
        `gradio.Blocks`.

    Raises:
        ModuleNotFoundError: if the extra `demo` is not installed.
    """
    gr = gradio()

    def take(file):
        if not file:
            return None
        try:
            picture = Image.fromarray(read_image(file["path"], MAX_PIXELS))
        except (OSError, ValueError) as error:
            # Its folder is not for visitors.
            reason = in_words(error).replace(file["path"], "The photo")
            raise gr.Error(reason, print_exception=False) from error
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
        return np.asarray(picture)

    def answer(photo, text):
        try:
            return render(explain, photo, text)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    with gr.Blocks(title="keras-cmsa", analytics_enabled=False) as page:
        photo = gr.State()
        gr.Markdown(
            "# Find what a sentence refers to\n"
            f"Drop a photo, write up to {MAX_SENTENCES} sentences, each on a line of its own."
        )
        with gr.Row():
            image = gr.Image(
                label="Photo",
                type="filepath",
                format="png",
                sources=["upload", "clipboard"],
                height=300,
                min_width=280,
                elem_id="photo",
            )
            with gr.Column(min_width=280):
                text = gr.Textbox(label="Sentences", lines=3, max_length=2000, elem_id="sentences")
                button = gr.Button("Find", variant="primary", elem_id="find")
        answers = gr.HTML(elem_id="answers", css_template="", padding=False)
        # One queue in order of arrival: a click right after an upload gets an answer for the new
        # photo. It answers one request at a time, since the model uses all cores.
        queue = {"concurrency_limit": 1, "concurrency_id": "photo", "api_visibility": "private"}
        # Without `preprocess` Gradio still checks where the file lies, and does not open it: what
        # Pillow does not know would end in a traceback.
        image.change(take, image, photo, preprocess=False, show_progress="minimal", **queue)
        button.click(answer, [photo, text], answers, **queue)
        small = "<img alt='' style='height:5rem' src='{}'>"
        samples = [[small.format(data_address(x)), sentences] for x, sentences in examples]
        shown = gr.Dataset(
            components=["html", "textbox"], samples=samples, label="Examples", type="index"
        )
        shown.click(examples.__getitem__, shown, [image, text], **queue)
    return page.queue(max_size=20)


def render(explain, photo, text):
    """Renders the answers to several sentences side by side, as HTML.

    Args:
        explain: `Explainer`.
        photo: `(H, W, 3)` uint8, or `None`.
        text: `str` with one sentence per line.

    Raises:
        ValueError: if there is no photo, no sentence or too many, or the predictor refuses one.
    """
    sentences = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if photo is None:
        raise ValueError("Drop a photo first.")
    if not 1 <= len(sentences) <= MAX_SENTENCES:
        raise ValueError(f"Write 1 to {MAX_SENTENCES} sentences, each on a line of its own.")
    sections = "".join(render_answer(photo, answer) for answer in explain(photo, sentences))
    return f"<style>{STYLE}</style><div class='cmsa-answers'>{sections}</div>"


def render_answer(photo, explanation):
    """Renders one answer as HTML: mask, importance of the words, probability, Figs. 4 and 5."""
    prediction = explanation.prediction
    sentence = html.escape(prediction.expression)
    caption = f"score {prediction.score:.2f}" if prediction.box else "nothing found"
    if not prediction.exists:
        caption = "nothing in this photo fits"
        if words := excluding_words(explanation.words, prediction.threshold):
            caption += f"; without “{html.escape(words[0])}” something would"
    probabilities = probability_overlay(photo, prediction.probabilities)
    parts = [
        f"<h3>{sentence}</h3>",
        picture(outlined_overlay(photo, explanation.mask), "mask", f"Found: {sentence}", caption),
        importance_table(explanation.words),
        picture(probabilities, "probability", f"Probability: {sentence}", "probability"),
    ]
    if explanation.inside:
        channel = heat_picture(photo, explanation.inside.strongest_channel)
        parts += [
            "<details><summary>Figs. 4 and 5 of the paper</summary>",
            words_table(prediction, explanation.inside.levels),
            picture(
                channel,
                "channel",
                f"Strongest channel: {sentence}",
                "Fig. 5: strongest channel of the fused map, from blue (low) to yellow (high)",
            ),
            "</details>",
        ]
    return f"<section>{''.join(parts)}</section>"


def importance_table(words):
    """The importance of each word as HTML: a row with a bar per word."""
    rows = "".join(
        f"<tr title='IoU of the masks with and without it: {word.iou:.2f}'>"
        f"<th>{html.escape(word.word)}</th><td>{100 * word.change:.0f}</td>"
        f"<td class='bar'><span style='width:{100 * word.change:.0f}%'></span></td></tr>"
        for word in words
    )
    return (
        "<div class='cmsa-words'><table class='importance'>"
        f"<caption>change of the answer without the word, %</caption>{rows}</table></div>"
    )


def picture(pixels, kind, alternative, caption):
    """An HTML figure that contains the pixels as PNG; `kind` is the class of the image."""
    return (
        f"<figure><img class='{kind}' alt='{alternative}' src='{data_address(pixels)}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def data_address(pixels):
    """The address of an image that contains the pixels as PNG."""
    return f"data:image/png;base64,{base64.b64encode(as_png(pixels)).decode('ascii')}"


def words_table(prediction, levels):
    """The matrix of Fig. 4 as HTML: rows of levels, columns of words, darker for more attention."""
    head = "".join(f"<th>{html.escape(token)}</th>" for token in prediction.tokens)
    top = prediction.word_attention.max() or 1.0
    rows = []
    for level, shares in zip(levels, prediction.word_attention):
        cells = "".join(
            f"<td style='background:rgba(0,114,178,{share / top:.2f});"
            f"color:{'white' if share > top / 2 else 'inherit'}'>{100 * share:.0f}</td>"
            for share in shares
        )
        rows.append(f"<tr><th>{level}</th>{cells}</tr>")
    return (
        "<div class='cmsa-words'><table><caption>Fig. 4: attention to words, %</caption>"
        f"<tr><th></th>{head}</tr>{''.join(rows)}</table></div>"
    )


def heat_picture(photo, heat):
    """Draws a map `(H, W)` of 0..1 over the grey photo: `(H, W, 3)` uint8."""
    from matplotlib import colormaps

    grey = as_grey(photo)[..., None]
    coloured = 255 * colormaps[MAP_COLOURS](heat)[..., :3]
    return (0.35 * grey + 0.65 * coloured).round().astype("uint8")


def gradio():
    """The module `gradio`, without its usage statistics."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    return require("gradio", "demo", "The demo page")


def draw_examples():
    """Scenes of RefShapes as examples for `build_page`."""
    from keras_cmsa.data.ref_shapes.samples import draw_sample

    examples = []
    for number in range(4):
        rng = np.random.default_rng([0, number])
        jpeg, _, refs = draw_sample(rng, "val", number, EXAMPLE_SIDE)
        sentences = [ref["sentences"][0]["raw"] for ref in refs]
        examples.append((read_image(jpeg), "\n".join(sentences[:3])))
    return examples


def sweep(folder, seen):
    """Deletes from a folder what is as it was at the sweep before.

    So a file goes at the second sweep that sees it. No clock is asked for its age: clocks are set.

    Args:
        folder: its path.
        seen: what the sweep before has returned; at first an empty dict.

    Returns:
        The paths in it with the times of their last change.
    """
    now = {}
    for path in sorted(Path(folder).rglob("*"), reverse=True):  # a folder after what is in it
        with contextlib.suppress(OSError):  # it is gone, or something new lies in it
            now[path] = path.stat().st_mtime_ns
            if seen.get(path) == now[path]:
                path.rmdir() if path.is_dir() else path.unlink()
    return now


def serve(predictor, host="127.0.0.1", port=7860):
    """Serves the page until it is interrupted.

    Args:
        predictor: `Predictor`.
        host: address to listen on; `"0.0.0.0"` also admits other machines.
        port: port to listen on.
    """
    gr = gradio()
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # A name of another's that leads here would let his page read ours.
    allowed = LOOPBACK if host in (*LOOPBACK, "::1") else ["*"]
    # Gradio also opens uploads with Pillow, which checks this limit before it reads pixels.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    examples = draw_examples()
    explain = Explainer(predictor)
    render(explain, *examples[0])  # the first answer folds and compiles: no visitor waits for it
    with tempfile.TemporaryDirectory(
        prefix="keras-cmsa-demo-", ignore_cleanup_errors=True
    ) as folder:
        # Gradio leaves uploads where Python writes temporary files, and others where the variable
        # says. Each component reads it when the page is built.
        before, tempfile.tempdir = tempfile.tempdir, folder
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            page = build_page(explain, examples)
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                max_file_size=MAX_FILE,
                state_session_capacity=MAX_VISITORS,
                app_kwargs={
                    "max_body_size": MAX_BODY,  # FastAPI's; Gradio bounds each file alone
                    "middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=allowed)],
                },
                theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
                footer_links=[],
                share=False,
                ssr_mode=False,
                quiet=True,
                prevent_thread_lock=True,
            )
            print(f"keras-cmsa demo: {url}", flush=True)
            seen = {}
            with contextlib.suppress(KeyboardInterrupt), contextlib.closing(page):
                while True:
                    time.sleep(SWEEP_EVERY)
                    with contextlib.suppress(OSError):  # a folder is gone as it is looked through
                        seen = sweep(folder, seen)
        finally:
            tempfile.tempdir = before
