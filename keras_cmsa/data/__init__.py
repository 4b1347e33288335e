"""Data sets: one record type, their readers, RefShapes, batches, and a builder for TFDS.

Importing this costs nothing. Once TensorFlow Datasets is imported, before or after, it knows
`refer_segmentation`: `tfds.load("refer_segmentation/unc", ...)`.
"""

import importlib

import wrapt


def _register(_):
    importlib.import_module("keras_cmsa.data.refer_segmentation")


wrapt.register_post_import_hook(_register, "tensorflow_datasets")
