"""Expressions, image files and masks inside a TensorFlow graph, equal to their Python counterparts.

What `keras_cmsa.export` puts around a model. Made of TensorFlow's core operations, so that whatever
loads a SavedModel can run it.
"""
