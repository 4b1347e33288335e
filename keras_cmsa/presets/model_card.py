"""The model card: the facts of a model for people, in the form that hubs read."""

HEAD = """---
library_name: keras
pipeline_tag: image-segmentation
tags:
- referring-image-segmentation
- keras-cmsa
---
"""
# Facts of an export
EXPORTED_AS, MASKS_BY, STORED_AS = "Exported as", "Masks by the profile", "Weights stored as"
TRAINED_IN = "Computed before the export in"
PREDICTOR = """from keras_cmsa import Predictor

predictor = Predictor.from_preset(FOLDER_OR_HUB_ADDRESS)
predictor("photo.jpg", "man in yellow shirt").mask
"""
NETWORK = """{}
from keras_cmsa import load_preprocessor, read_image

words = load_preprocessor("FOLDER").vocabulary.encode(["man in yellow shirt"])
inputs = {{"image": read_image("photo.jpg"), "words": words}}
{}
"""
# Code that runs an exported network, by format.
RUNNERS = {
    "ONNX": NETWORK.format(
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("FOLDER/model.onnx")\n'
        '(masks,) = session.run(["mask"], inputs)  # (K, H, W) uint8',
    ),
    "LiteRT": NETWORK.format(
        "from ai_edge_litert.interpreter import Interpreter",
        'run = Interpreter("FOLDER/model.tflite").get_signature_runner("photo")\n'
        'masks = run(**inputs)["mask"]  # (K, H, W) uint8',
    ),
}
LEAKAGE = (
    "RefCOCO, RefCOCO+, RefCOCOg and Google Refexp draw from the same images of COCO's train2014. A "
    "model that was trained on one of them, or that started from weights trained on COCO, may have "
    "seen the images of another's val and test splits."
)


def as_markdown(config):
    """The model card.

    Args:
        config: dict, as `keras_cmsa.presets.preset.make_config` gives it.
    """
    preprocessor = config["preprocessor"]
    facts = {
        "System": config["system"],
        "Trained on": config["data"]["name"],
        "Started from": config["starting_weights"],
        "Input side S in pixels": preprocessor["image_size"],
        "How images fill it": preprocessor["resizing"],
        "Expressions are cut into": preprocessor["tokenizer"],
        "Words per expression N": preprocessor["max_words"],
        "Vocabulary, `[PAD]` and `[UNK]` included": preprocessor["vocabulary_size"],
        **config.get("export", {}),
        **config["versions"],
    }
    code = RUNNERS.get(config.get("export", {}).get(EXPORTED_AS), PREDICTOR)
    lines = [HEAD, f"# {config['system']}", ""]
    lines += ["Referring image segmentation: image and expression in, mask out.", ""]
    lines += [*table(["", ""], facts.items()), "", *metrics_lines(config["metrics"]), ""]
    lines += counts_lines(config["data"]) + existence_lines(config.get("existence"))
    lines += ["## Use", "", f"```python\n{code}```", ""]
    lines += ["## Leakage", "", LEAKAGE, "", "## Licence", "", config["licence"], ""]
    return "\n".join(lines)


def table(columns, rows):
    """The lines of a table, by the names of its columns and rows of as many cells."""
    return [f"| {' | '.join(map(str, row))} |" for row in (columns, ["---"] * len(columns), *rows)]


def metrics_lines(metrics):
    """The numbers of each split, under their profile."""
    if not metrics:
        return ["No metrics were recorded with this model."]
    splits = metrics["splits"]
    columns = list(next(iter(splits.values())))
    rows = [[split, *(f"{numbers[c]:.4g}" for c in columns)] for split, numbers in splits.items()]
    return [f"## Metrics, profile `{metrics['profile']}`", "", *table(["split", *columns], rows)]


def counts_lines(data):
    """The sizes of the data's splits."""
    if not data.get("counts"):
        return []
    columns = "refs", "expressions", "images"
    rows = [[split, *(count[c] for c in columns)] for split, count in data["counts"].items()]
    return ["## Data", "", *table(["split", *columns], rows), ""]


def existence_lines(existence):
    """The curve of thresholds of a model that says whether anything fits."""
    if not existence:
        return []
    counts, curve = existence["sentences"], existence["curve"]
    lines = ["## Whether anything fits", "", f"The threshold is {existence['threshold']:.4f}."]
    if curve:
        columns = "threshold", "refused of those that fit nothing", "accepted of the others"
        lines += [
            f"What others would do on {counts['present']} held-out sentences that fit something and "
            f"{counts['absent']} that do not:",
            "",
            *table(columns, [(f"{at:.4g}", *map(bar, shares)) for at, *shares in curve]),
        ]
    return [*lines, ""]


def bar(share):
    """A share as a bar and as a number."""
    return f"`{'█' * round(20 * min(max(share, 0), 1)):<20}` {100 * share:.0f} %"
