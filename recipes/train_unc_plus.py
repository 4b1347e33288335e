"""`keras-cmsa train unc_plus` from a clone: keras_cmsa/recipes/unc_plus.py has promise, cost and numbers."""

from keras_cmsa.cli.train import main

if __name__ == "__main__":
    main("unc_plus")
