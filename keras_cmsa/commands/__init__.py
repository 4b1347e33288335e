"""The commands of `keras-cmsa`, a module each. None imports Keras before it runs."""
