"""Exports of a trained model for other runtimes: SavedModel, ONNX and LiteRT."""
