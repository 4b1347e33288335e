"""A trained model in its folder: written, fetched from a hub, and loaded safely."""
