"""Referring image segmentation in Keras 3: find in a photo what a sentence speaks of.

The names below are the package's contents. Each is imported when first used, so that
`import keras_cmsa` costs nothing; the layers register with Keras as soon as Keras is there.
"""

import importlib

import wrapt

from keras_cmsa._version import __version__

_MODULE_OF = {
    "CrossModalSelfAttention": "layers",
    "GatedMultiLevelFusion": "layers",
    "MultimodalFeature": "layers",
    "build_cmsa": "cmsa",
    "with_attention": "cmsa",
    "SYSTEMS": "systems",
    "build_system": "systems",
    "dilated_resnet101": "backbones",
    "small_resnet": "backbones",
    "MaskLoss": "losses",
    "OverallIoU": "metrics",
    "MeanIoU": "metrics",
    "PrecisionAt": "metrics",
    "Vocabulary": "text",
    "WordPieces": "text",
    "read_image": "image",
    "resize_and_pad": "image",
    "undo_resize_and_pad": "image",
    "Record": "data.records",
    "read_refer": "data.refer",
    "write_ref_shapes": "data.ref_shapes",
    "Prediction": "predictor",
    "Predictor": "predictor",
    "export_saved_model": "export",
    "export_onnx": "portable",
    "export_litert": "portable",
    "fold_batch_norms": "folding",
    "train": "training",
    "evaluate": "evaluation",
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
    for module in ("layers", "losses", "metrics"):
        importlib.import_module(f"keras_cmsa.{module}")


# keras.saving.load_model finds a class by its registered name and imports nothing by itself.
wrapt.register_post_import_hook(_register, "keras")
