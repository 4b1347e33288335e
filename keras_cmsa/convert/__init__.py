"""Weights that others published, in this package's models."""
