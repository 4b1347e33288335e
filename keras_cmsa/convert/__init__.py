"""Weights that others published, in this package's models."""

from keras_cmsa.convert.released_checkpoint import load_released_checkpoint

__all__ = ["load_released_checkpoint"]
