"""CMSA and the systems that it is compared with, one function per functional model."""
