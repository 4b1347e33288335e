"""The commands of `keras-cmsa`, one module each. None imports Keras before it runs."""
