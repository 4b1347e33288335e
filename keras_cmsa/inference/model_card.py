"""What is known of a model, on a page for people, in the form that hubs read."""

HEAD = """---
library_name: keras
pipeline_tag: image-segmentation
tags:
- referring-image-segmentation
- keras-cmsa
---
"""
LEAKAGE = (
    "RefCOCO, RefCOCO+, RefCOCOg and Google Refexp draw from the same images of COCO's train2014. A "
    "model that was trained on one of them, or that started from weights trained on COCO, may have "
    "seen the images of another's val and test splits."
)


def as_markdown(config):
    """The model card.

    Args:
        config: dict, as `keras_cmsa.inference.preset.make_config` gives it.
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
    lines += ["## Use", "", "```python", "from keras_cmsa import Predictor", ""]
    lines += ["predictor = Predictor.from_preset(FOLDER_OR_HUB_ADDRESS)"]
    lines += ['predictor("photo.jpg", "man in yellow shirt").mask', "```", ""]
    lines += ["## Leakage", "", LEAKAGE, "", "## Licence", "", config["licence"], ""]
    return "\n".join(lines)


def metrics_lines(metrics):
    """A table of the splits' numbers, under the profile that they were measured with."""
    if not metrics:
        return ["No metrics were recorded with this model."]
    splits = metrics["splits"]
    columns = list(next(iter(splits.values())))
    lines = [f"## Metrics, profile `{metrics['profile']}`", ""]
    lines += [f"| split | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for split, numbers in splits.items():
        lines.append(f"| {split} | {' | '.join(f'{numbers[c]:.4g}' for c in columns)} |")
    return lines


def counts_lines(data):
    """A table of what each split of the data holds."""
    if not data.get("counts"):
        return []
    lines = ["## Data", "", "| split | refs | expressions | images |", "|---|---|---|---|"]
    for split, count in data["counts"].items():
        lines.append(f"| {split} | {count['refs']} | {count['expressions']} | {count['images']} |")
    return [*lines, ""]
