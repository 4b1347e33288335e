"""A trained model in its folder: how it is written, found on a hub, and loaded safely."""
