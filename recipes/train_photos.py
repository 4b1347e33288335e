"""`keras-cmsa train photos` from a clone: keras_cmsa/recipes/photos.py has cost and numbers."""

from keras_cmsa.cli.train import main

if __name__ == "__main__":
    main("photos")
