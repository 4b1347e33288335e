"""What it saves to keep on disk what frozen eyes say of each photo: an epoch with and without.

    python benchmarks/features.py
    python benchmarks/features.py --eyes cmsa_photos --repeats 1

The settings are those of `keras-cmsa train photos`, without augmentation. Photos and expressions are
made up, as are the weights of eyes from `keras.applications`: a step takes as long with any. Both
forms take turns.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import cli
import measure
from pipeline import make_photos, make_records

from keras_cmsa.models.image_encoder import image_encoder
from keras_cmsa.models.inputs_and_outputs import split_at_maps
from keras_cmsa.models.systems import build_system
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.presets.hub import PHOTOS
from keras_cmsa.presets.preset import Preset, load_preset
from keras_cmsa.recipes.recipe_settings import recipe_settings
from keras_cmsa.training.features import ImageFeatures
from keras_cmsa.training.loop import compile_model, make_batches


@cli.options
class Options:
    """What is measured."""

    eyes: tuple[str, ...] = (PHOTOS, "EfficientNetV2B0", "ResNet50", "ConvNeXtTiny", "ResNet101")
    """Names of keras.applications, or cmsa_photos, the eyes of the package's preset."""
    photos: int = 16
    """Photos of an epoch."""
    sentences: int = 3
    """Expressions per photo, all in one step."""
    image_size: cli.ImageSize = 320
    repeats: cli.Repeats = 3


def measure_all(options):
    """What the JSON file holds."""
    with tempfile.TemporaryDirectory() as folder:
        records = make_records(make_photos(Path(folder), options.photos), options.sentences)
        return {"eyes": [measure_eyes(name, records, folder, options) for name in options.eyes]}


def measure_eyes(name, records, folder, options):
    """An epoch by eyes of this name, in a form each."""
    settings = replace(
        recipe_settings("photos"),
        augment=False,
        image_size=options.image_size,
        sentences_per_image=options.sentences,
    )
    settings = replace(settings, steps=-(-options.photos // settings.batch_size))
    vocabulary = Vocabulary.build([r.expression for r in records], max_words=settings.max_words)
    source = load_preset(PHOTOS).model.get_layer("backbone") if name == PHOTOS else name
    model = build_system(
        settings.system,
        len(vocabulary),
        image_size=settings.image_size,
        backbone=image_encoder(source, settings.image_size, weights=None, finer=None),
        max_words=settings.max_words,
        word_dim=settings.word_dim,
        attention_dim=settings.attention_dim,
        fusion_dim=settings.fusion_dim,
    )
    preset = Preset(model, Preprocessor(vocabulary, settings.image_size), {})
    backbone = model.get_layer("backbone")
    features = ImageFeatures(folder, backbone, preset.preprocessor)
    features.add_images(records)
    _, head = split_at_maps(model)
    forms = {"with features": (head, features), "without": (model, None)}
    calls = {}
    for form, (network, kept) in forms.items():
        compile_model(network, settings)
        batches, _ = make_batches(preset, records, records, settings, 0, kept)
        calls[form] = partial(network.fit, batches, verbose=0, shuffle=False)
    of_features, without = measure.compare(calls, options.repeats)
    return {
        "name": name,
        "weights_of_eyes": backbone.count_params(),
        "seconds_with_features": of_features["seconds"],
        "seconds_without": without["seconds"],
        "ratio": without["ratio"],
        "cpu_ratio": without["cpu_ratio"],
        "mb_per_photo": features.bytes / 1e6,
    }


if __name__ == "__main__":
    cli.main(Options, measure_all)
