"""CMSA and the systems that it is compared with, one function per functional model."""

# First, since Keras' import registers `Cmsa`, whose modules must not be half imported then.
import keras  # noqa: F401
