"""Training from settings: losses, metrics, the loop and its callbacks."""
