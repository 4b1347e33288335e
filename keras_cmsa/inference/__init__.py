"""A trained model in use: the predictor, and the rules from logits to masks."""
