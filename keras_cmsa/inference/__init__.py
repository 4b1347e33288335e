"""A trained model in use: presets, the predictor, and the rules from logits to masks."""
