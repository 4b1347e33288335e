"""Data sets as shards of TensorFlow Datasets (TFDS): written once, then read in random order."""
