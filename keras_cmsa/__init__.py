"""Referring image segmentation in Keras 3: find, in a photo, the thing that a sentence refers to.

The public names are below. Each is imported when it is first used, so that `import keras_cmsa`
needs no Keras and no backend; the layers register with Keras as soon as Keras is there.
"""

import importlib

import wrapt

from keras_cmsa._version import __version__

_MODULE_OF = {
    # The method
    "CrossModalSelfAttention": "layers",
    "GatedMultiLevelFusion": "layers",
    "MultimodalFeature": "layers",
    "Cmsa": "models.cmsa",
    "build_cmsa": "models.cmsa",
    "with_attention": "models.cmsa",
    "SYSTEMS": "models.systems",
    "build_system": "models.systems",
    "build_cmsa_refined": "models.cmsa_refined",
    "image_encoder": "models.image_encoder",
    "word_encoder": "models.word_encoder",
    "static_vectors": "models.word_encoder",
    "deeplab_resnet101": "models.backbones",
    "load_deeplab": "convert.deeplab",
    "load_released_checkpoint": "convert.released_checkpoint",
    "dilated_resnet101": "models.backbones",
    "small_resnet": "models.backbones",
    # Images, words, data
    "Preprocessor": "preprocessing.preprocessor",
    "Vocabulary": "preprocessing.vocabulary",
    "ReleasedVocabulary": "preprocessing.released_vocabulary",
    "WordPieces": "preprocessing.word_pieces",
    "read_image": "preprocessing.reading",
    "Record": "data.record",
    "read_records": "data.sources",
    "read_refer": "data.readers.refer",
    "write_ref_shapes": "data.ref_shapes",
    # Training
    "MaskLoss": "training.losses",
    "MeanSampleIoU": "training.metrics",
    "OverallIoU": "training.metrics",
    "PrecisionAt": "training.metrics",
    "Settings": "training.settings",
    "compile_model": "training.loop",
    "recipe_settings": "recipes.recipe_settings",
    "run_training": "training.run",
    "train": "training.loop",
    # A trained model
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "Preset": "presets.preset",
    "load_preprocessor": "presets.files",
    "load_preset": "presets.preset",
    "save_preset": "presets.preset",
    "to_mask": "inference.masks",
    "Controls": "evaluation.controls",
    "Explainer": "explain.explanations",
    "evaluate": "evaluation.evaluate",
    "summarize": "evaluation.scores",
    # Elsewhere
    "Client": "serving.client",
    "ExportOptions": "export.saved_model",
    "export_litert": "export.portable",
    "export_onnx": "export.portable",
    "export_saved_model": "export.saved_model",
    "fold_for_inference": "models.folding",
}

__all__ = ["__version__"]
__all__ += _MODULE_OF


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'keras_cmsa' has no attribute {name!r}")
    return getattr(importlib.import_module(f"keras_cmsa.{_MODULE_OF[name]}"), name)


def __dir__():
    return __all__


def _register(_):
    of_training = ("training.losses", "training.metrics")
    of_models = ("models.cmsa", "models.image_encoder", "models.word_encoder")
    for module in ("layers", *of_models, *of_training):
        importlib.import_module(f"keras_cmsa.{module}")


# keras.saving.load_model finds a class by its registered name and imports nothing by itself.
wrapt.register_post_import_hook(_register, "keras")
