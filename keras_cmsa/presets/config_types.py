"""What a `config.json`, which may be a stranger's, holds: types, and no control characters."""

from keras_cmsa.presets.model_card import EXPORTED_AS, MASKS_BY, STORED_AS, TRAINED_IN
from keras_cmsa.utils.messages import printable

EACH = "*"  # stands for every other name
COUNTS = {"refs": int, "expressions": int, "images": int}
# A name with ? may be missing.
CONFIG_TYPES = {
    "system": str,
    "preprocessor": {
        "image_size": int,
        "max_words": int,
        "resizing": str,
        "vocabulary_sha256": str,
    },
    "data": {"name": str, "counts?": {EACH: COUNTS}},
    "metrics": {},
    "starting_weights?": str,
    "training?": {},
    "licence?": str,
    "export?": {f"{fact}?": str for fact in (EXPORTED_AS, MASKS_BY, STORED_AS, TRAINED_IN)},
    "parameters?": int,
    "attention_levels?": [str],
    "existence?": {
        "threshold": (int, float),
        "sentences": {"absent": int, "present": int},
        "curve": [[(int, float)]],
    },
}
METRICS = {"profile": str, "splits": {EACH: {EACH: (int, float)}}}


def check_config(config, path):
    """Checks the content of a `config.json`.

    Args:
        config: dict.
        path: of the file.

    Raises:
        ValueError: if something is missing or of another type; names it.
    """
    try:
        check_types(config, CONFIG_TYPES)
        if metrics := config["metrics"]:
            check_types(metrics, METRICS, "metrics")
            if len({tuple(numbers) for numbers in metrics["splits"].values()}) != 1:
                raise ValueError("wanted the same numbers of each split of 'metrics'")
        curve = config.get("existence", {}).get("curve", [])
        if any(len(line) != 3 for line in curve):
            raise ValueError("wanted three numbers in each line of 'existence.curve'")
        check_printable(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_types(value, types, name=""):
    """Raises a `ValueError` unless a value is of a type, or its parts are.

    Args:
        value: of JSON.
        types: a type or several; or a list with the type of each entry, or a dict of those of names.
        name: of the value.
    """
    wanted = type(types) if isinstance(types, list | dict) else types
    if not isinstance(value, wanted):
        kind = getattr(wanted, "__name__", "number")
        raise ValueError(f"wanted {name!r} of type {kind}. Received: {value!r:.100}")
    if isinstance(types, list):
        for number, entry in enumerate(value):
            check_types(entry, types[0], f"{name}.{number}")
    elif isinstance(types, dict):
        for key, of_part in types.items():
            optional = {key.rstrip("?")} & set(value)
            for part in value if key == EACH else optional if key.endswith("?") else [key]:
                check_types(value.get(part), of_part, f"{name}.{part}".lstrip("."))


def check_printable(value):
    """Raises a `ValueError` at a text with control characters, which a terminal would obey."""
    if isinstance(value, str) and value != printable(value):
        raise ValueError(f"wanted texts without control characters. Received: {value!r:.100}")
    if isinstance(value, dict | list):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            check_printable(part)
