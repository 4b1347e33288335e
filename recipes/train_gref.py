"""`keras-cmsa train gref` from a clone: keras_cmsa/recipes/gref.py has promise, cost and numbers."""

from keras_cmsa.cli.train import main

if __name__ == "__main__":
    main("gref")
