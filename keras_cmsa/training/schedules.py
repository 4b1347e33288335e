"""Learning rates over the steps of a training."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cmsa")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose first steps are smaller: step s of w takes (s + 1) / w of its rate.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`.
        steps: w, at least 1.
    """

    def __init__(self, schedule, steps):
        super().__init__()
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step):
        share = (ops.cast(step, "float32") + 1) / self.steps
        return self.schedule(step) * ops.minimum(share, 1)

    def get_config(self):
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["steps"])
