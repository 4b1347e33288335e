"""Trainings of a few steps on a tiny model; a process that a test kills imports this too."""

import csv

import numpy as np
import tiny

from keras_cmsa.presets.preset import Preset
from keras_cmsa.training import loop
from keras_cmsa.training.settings import Settings

# Rounds of 3, 3 and 1 steps, over passes of 3 and a third batches.
STEPS, BATCH, ROUND, TRAINING, VALIDATION = 7, 3, 3, 10, 4
RATE = 0.05


def settings(run_dir, **changed):
    sizes = {"image_size": tiny.SIZE, "max_words": tiny.WORDS}
    pace = {"steps": STEPS, "batch_size": BATCH, "steps_per_round": ROUND, "learning_rate": RATE}
    pace["seed"] = 5  # one with which the tiny model finds something
    return Settings(**{**sizes, **pace, "run_dir": str(run_dir), **changed})


def compiled_model(existence=False, **changed):
    import keras

    keras.utils.set_random_seed(7)
    # The quickest to compile that has every kind of weight.
    model = tiny.model(attention="word", existence=existence)
    loop.compile_model(model, settings("", **changed))
    return model


def train(model, scenes, run_dir, resume=False, preprocessor=None, facts=None, **changed):
    """`loop.train` on the first of the scenes, validated on the rest."""
    return loop.train(
        Preset(model, preprocessor or tiny.preprocessor(), facts or {}),
        scenes[:TRAINING],
        scenes[TRAINING:],
        settings(run_dir, **changed),
        resume,
        verbose=0,
    )


def history(run_dir):
    with open(run_dir / "history.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


class Trainee:
    """One model for all runs, which spares compiling it again for each, put back before each."""

    def __init__(self, **changed):
        self.model = compiled_model(**changed)
        self.variables = [*self.model.variables, *self.model.optimizer.variables]
        self.start = self.state()

    def state(self):
        """Weights, statistics and the optimizer's variables."""
        return [tiny.to_numpy(v.value).copy() for v in self.variables]

    def restart(self):
        for variable, value in zip(self.variables, self.start):
            variable.assign(value)
        return self.model

    def scramble(self):
        """A model that has learnt something else, for resuming into."""
        rng = np.random.default_rng(0)
        for variable in self.variables:
            variable.assign(rng.integers(1, 5, variable.shape))
        return self.model
