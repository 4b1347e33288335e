"""TensorFlow twins of `keras_cmsa.preprocessing` and `keras_cmsa.inference.masks`.

`keras_cmsa.export` puts them around a model. They use TensorFlow's core operations only, so any
program that loads SavedModels can run them. Each follows the rule of its NumPy original; the tests
hold both to the same cases.
"""
