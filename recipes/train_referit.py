"""`keras-cmsa train referit` from a clone: keras_cmsa/recipes/referit.py has promise, cost and numbers."""

from keras_cmsa.cli.train import main

if __name__ == "__main__":
    main("referit")
