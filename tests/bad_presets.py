"""Presets that must be refused in one line: what is done to a good one, and what is said of it."""

import json
import re
import zipfile

SYSTEM = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}


def layer_named(config, name):
    """The entry of a layer of the backbone in the `config.json` of a `.keras` file."""
    layers = config["config"]["backbone"]["config"]["layers"]
    return next(x for x in layers if x["config"]["name"] == name)


def rewrite(path, change=None, extra=(), packed=zipfile.ZIP_STORED):
    """Writes a `.keras` file anew, with its configuration changed and members added."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if change:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, data in (members | dict(extra)).items():
            archive.writestr(name, data)


def a_lambda(folder):
    import keras

    path = folder / "model.keras"
    model = keras.saving.load_model(path, compile=False)
    keras.Model(model.input, keras.layers.Lambda(lambda x: x + 1)(model.output)).save(path)


def rewritten(*arguments, **options):
    return lambda folder: rewrite(folder / "model.keras", *arguments, **options)


def with_layer(**entries):
    """Changes entries of the layer conv5."""
    return rewritten(lambda config: layer_named(config, "conv5").update(entries))


def with_activation(function):
    return rewritten(
        lambda config: layer_named(config, "conv5")["config"].update(activation=function)
    )


def with_part(**parts):
    """Changes arguments of the model."""
    return rewritten(lambda config: config["config"].update(parts))


def with_member(name):
    return rewritten(extra=[(name, b"nothing good")])


def an_archive_that_expands(folder):
    zeros = [("assets/zeros", bytes(50_000_000))]
    rewrite(folder / "model.keras", extra=zeros, packed=zipfile.ZIP_DEFLATED)


def half_of_the_weights(folder):
    name, path = "model.weights.h5", folder / "model.keras"
    with zipfile.ZipFile(path) as archive:
        weights = archive.read(name)
    rewrite(path, extra=[(name, weights[: len(weights) // 2])])


def other_inputs(folder):
    import keras

    image = keras.Input((8, 8, 3), name="picture")
    keras.Model(image, keras.layers.Dense(1)(image)).save(folder / "model.keras")


def an_unknown_layer(folder):
    import keras

    class Foreign(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((8, 8, 3), name="image")
    keras.Model(image, Foreign()(image)).save(folder / "model.keras")


def halved(name):
    def damage(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


def one_word_less(folder):
    lines = (folder / "vocabulary.txt").read_text("utf-8").splitlines(keepends=True)
    (folder / "vocabulary.txt").write_text("".join(lines[:-1]), "utf-8")


def configured(**changes):
    """Changes keys of `config.json`; those of the preprocessor as `preprocessor__<key>`.

    `None` takes a key away.
    """

    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        for name, value in changes.items():
            *parents, key = name.split("__")
            target = config[parents[0]] if parents else config
            target.pop(key) if value is None else target.update({key: value})
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def written(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def without(name):
    return lambda folder: (folder / name).unlink()


DAMAGED = r"model\.keras cannot be loaded: it is cut short, damaged, or a model of another package"
FOREIGN = r"it holds '{}' of the module 'os', which is neither of Keras nor of keras_cmsa"

# What is done to a preset's folder, and what the error says.
FILES_OF_STRANGERS = {
    "a Lambda": (a_lambda, "it holds a Lambda, which runs code of its author"),
    "a Lambda as activation": (
        with_activation({"class_name": "__lambda__", "config": {"value": "4wE="}}),
        "it holds a Lambda, which runs code",
    ),
    "a layer of os": (with_layer(module="os", class_name="system"), FOREIGN.format("system")),
    "a function of os": (with_activation(SYSTEM), FOREIGN.format("function")),
    "os by a known name": (
        with_activation(SYSTEM | {"registered_name": "keras_cmsa>MultimodalFeature"}),
        FOREIGN.format("function"),
    ),
    "a function of os as fusion": (with_part(fusion=SYSTEM), FOREIGN.format("function")),
    "no backbone": (with_part(backbone=None), "backbone: wanted a Keras model. Received: None"),
    "a SavedModel inside": (
        with_layer(
            class_name="TFSMLayer",
            config={"filepath": ".", "call_endpoint": "serve", "name": "conv5"},
        ),
        "model.keras",
    ),
    "a name with ..": (with_member("../evil.txt"), r"the name '\.\./evil\.txt' in it leads out"),
    "an absolute name": (with_member("/tmp/evil.txt"), "leads out of it"),
    "a name of Windows": (with_member("..\\evil.txt"), "leads out of it"),
    "it expands": (an_archive_that_expands, "it unpacks to 50,.* bytes; wanted at most 20 times"),
}
DAMAGED_FILES = {
    "half a model": (halved("model.keras"), DAMAGED),
    "half of the weights": (half_of_the_weights, DAMAGED),
    "other inputs": (other_inputs, "inputs 'image' and 'words'"),
    "an unknown layer": (an_unknown_layer, r"model\.keras (is refused|cannot be loaded)"),
    "no model": (
        without("model.keras"),
        "has no network that a predictor runs: wanted model.keras",
    ),
    "a word less": (
        one_word_less,
        r"is not the vocabulary .* it has 9 entries, config.json is of 10",
    ),
    "no words": (without("vocabulary.txt"), r"vocabulary\.txt is missing"),
    "words of another encoding": (written("vocabulary.txt", b"\xff\xfe[PAD]"), r"vocabulary\.txt"),
    "half a config": (halved("config.json"), "is not whole JSON"),
    "a deep config": (written("config.json", b"[" * 200_000), "is not whole JSON"),
    "a list": (written("config.json", b"[]"), "is not the config.json of a preset in format 1"),
    "a format to come": (configured(format=99), "is not the config.json of a preset in format 1"),
    "no system": (configured(system=None), "wanted 'system' of type str"),
    "no counts": (configured(data__counts={"val": {"refs": 3}}), "'data.counts.val.expressions'"),
    "a text for a number": (
        configured(metrics={"profile": "strict", "splits": {"val": {"mean_iou": "0.5"}}}),
        "wanted 'metrics.splits.val.mean_iou' of type number. Received: '0.5'",
    ),
    "metrics without splits": (
        configured(metrics={"profile": "strict", "splits": {}}),
        "the same numbers of each split",
    ),
    "levels of numbers": (configured(attention_levels=[3]), "'attention_levels.0' of type str"),
    "letters that a terminal obeys": (
        configured(starting_weights="\x1b[2J"),
        r"without control characters. Received: '\\x1b",
    ),
    "endless words": (
        configured(preprocessor__max_words=float("inf")),
        "wanted 'preprocessor.max_words' of type int. Received: inf",
    ),
    "another side": (configured(preprocessor__image_size=32), "takes images of 16 x 16"),
    "more words": (configured(preprocessor__max_words=6), "takes 5 words per expression"),
    "another resizing": (configured(preprocessor__resizing="crop"), "resizing must be one of"),
}


def check_line(message, wanted):
    """Asserts that an error is one line that says what is wanted."""
    assert "\n" not in message
    assert re.search(wanted, message), message
