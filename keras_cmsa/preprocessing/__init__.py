"""Turns images and expressions into a network's input, and its output back into image maps."""
