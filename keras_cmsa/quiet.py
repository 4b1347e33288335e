"""Without what TensorFlow says of things that nobody asks for here."""

import logging
import warnings


class quiet(warnings.catch_warnings):
    """Context without Python's warnings and TensorFlow's: of NumPy in converters, of gradients.

    An exported model has no gradients of the branch that is recomputed in training, and whoever
    loads it for inference misses none.
    """

    LOGGERS = ("absl", "tensorflow")

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore")
        self.levels = {name: logging.getLogger(name).level for name in self.LOGGERS}
        for name in self.LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)

    def __exit__(self, *error):
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)
        super().__exit__(*error)
