"""Data sets: one record type, their readers, RefShapes, batches, and a builder for TFDS.

This package imports no framework. It registers the builder `refer_segmentation` as soon as
TensorFlow Datasets is imported, before or after this package:
`tfds.load("refer_segmentation/unc", ...)`.
"""

import importlib

import wrapt

wrapt.register_post_import_hook(
    lambda _: importlib.import_module("keras_cmsa.data.refer_segmentation"), "tensorflow_datasets"
)
