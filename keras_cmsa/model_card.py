"""What is known of an exported model, on a page for people."""

TITLES = {
    "system": "System",
    "data": "Trained on",
    "weights": "Started from",
    "image_size": "Input side S in pixels",
    "fit": "How images are fitted to it",
    "max_pixels": "Largest image in pixels",
    "tokenizer": "Expressions are cut into",
    "max_words": "Words per expression N",
    "vocabulary_size": "Vocabulary, `[PAD]` and `[UNK]` included",
    "parameters": "Parameters",
    "weights_dtype": "Weights stored as",
    "norms_folded": "Batch normalisation folded into convolutions",
}


def as_markdown(facts):
    """The card as Markdown.

    Args:
        facts: dict, as `keras_cmsa.export.facts_of` makes it.
    """
    lines = [f"# {facts['name']}, version {facts['version']}", ""]
    lines += ["Referring image segmentation: image and expression in, mask out.", ""]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {title} | {facts[name]} |" for name, title in TITLES.items() if name in facts]
    lines += [f"| {name} | {version} |" for name, version in facts["versions"].items()]
    if facts["metrics"]:
        splits = facts["metrics"]["splits"]
        columns = list(next(iter(splits.values())))
        lines += ["", f"## Metrics, profile `{facts['metrics']['profile']}`", ""]
        lines += [f"| split | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
        for split, numbers in splits.items():
            lines.append(f"| {split} | {' | '.join(f'{numbers[c]:.4g}' for c in columns)} |")
    else:
        lines += ["", "No metrics were recorded with this model."]
    return "\n".join([*lines, "", "## Licence", "", facts["licence"], ""])
