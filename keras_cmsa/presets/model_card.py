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
# Code that runs an exported network, by format.
RUNNERS = {
    "ONNX": """import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
(masks,) = session.run(["mask"], inputs)  # (K, H, W) uint8
""",
    "LiteRT": """from ai_edge_litert.interpreter import Interpreter

run = Interpreter("FOLDER/model.tflite").get_signature_runner("photo")
masks = run(**inputs)["mask"]  # (K, H, W) uint8
""",
}
PREDICTOR = """from keras_cmsa import Predictor

predictor = Predictor.from_preset(FOLDER_OR_HUB_ADDRESS)
predictor("photo.jpg", "man in yellow shirt").mask
"""
NETWORK = """{imports}
from keras_cmsa import load_preprocessor, read_image

words = load_preprocessor("FOLDER").vocabulary.encode(["man in yellow shirt"])
inputs = {{"image": read_image("photo.jpg"), "words": words}}
{run}"""
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
    lines = [HEAD, f"# {config['system']}", ""]
    lines += ["Referring image segmentation: image and expression in, mask out.", ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {name} | {fact} |" for name, fact in facts.items()]
    lines += ["", *metrics_lines(config["metrics"]), "", *counts_lines(config["data"])]
    lines += existence_lines(config.get("existence"))
    lines += ["## Use", "", "```python", *how_to_use(config).splitlines(), "```", ""]
    lines += ["## Leakage", "", LEAKAGE, "", "## Licence", "", config["licence"], ""]
    return "\n".join(lines)


def how_to_use(config):
    """Python code that finds a mask with the model."""
    runner = RUNNERS.get(config.get("export", {}).get(EXPORTED_AS))
    if not runner:
        return PREDICTOR
    imports, run = runner.split("\n\n")
    return NETWORK.format(imports=imports, run=run)


def metrics_lines(metrics):
    """A table of the splits' numbers, under their profile."""
    if not metrics:
        return ["No metrics were recorded with this model."]
    splits = metrics["splits"]
    columns = list(next(iter(splits.values())))
    lines = [f"## Metrics, profile `{metrics['profile']}`", ""]
    lines += [f"| split | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for split, numbers in splits.items():
        lines.append(f"| {split} | {' | '.join(f'{numbers[c]:.4g}' for c in columns)} |")
    return lines


def existence_lines(existence):
    """The curve of thresholds of a model that says whether anything fits."""
    if not existence:
        return []
    counts, chosen = existence["sentences"], existence["threshold"]
    lines = ["## Whether anything fits", "", f"The threshold is {chosen:.4f}."]
    if not existence["curve"]:
        return [*lines, ""]
    lines += [
        f"What others would do on {counts['present']} held-out sentences that fit something and "
        f"{counts['absent']} that do not:",
        "",
        "| threshold | refused of those that fit nothing | accepted of the others |",
        "|---:|---|---|",
    ]
    lines += [
        f"| {threshold:.4g} | {bar(refused)} | {bar(accepted)} |"
        for threshold, refused, accepted in existence["curve"]
    ]
    return [*lines, ""]


def bar(share):
    """A share as a bar and as a number."""
    return f"`{'█' * round(20 * min(max(share, 0), 1)):<20}` {100 * share:.0f} %"


def counts_lines(data):
    """A table of the sizes of the data's splits."""
    if not data.get("counts"):
        return []
    lines = ["## Data", "", "| split | refs | expressions | images |", "|---|---|---|---|"]
    for split, count in data["counts"].items():
        lines.append(f"| {split} | {count['refs']} | {count['expressions']} | {count['images']} |")
    return [*lines, ""]
