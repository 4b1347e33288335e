"""`keras-cmsa train unc` from a clone: keras_cmsa/recipes/unc.py has promise, cost and numbers."""

from keras_cmsa.cli.train import main

if __name__ == "__main__":
    main("unc")
