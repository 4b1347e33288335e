"""Schedules, by their definitions."""

import pytest

from keras_cmsa.training.schedules import WarmUp

pytestmark = pytest.mark.keras


def test_a_warm_up_rises_to_its_schedule_and_follows_it(seeded):
    decay = seeded.optimizers.schedules.PolynomialDecay(0.1, 10, 0.0)
    found = [float(WarmUp(decay, 4)(step)) for step in range(6)]
    shares = [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]
    wanted = [0.1 * (1 - step / 10) * share for step, share in enumerate(shares)]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_a_warm_up_is_saved_and_loaded(seeded):
    schedules = seeded.optimizers.schedules
    schedule = WarmUp(schedules.PolynomialDecay(0.1, 10), 4)
    other = schedules.deserialize(schedules.serialize(schedule))
    assert [float(other(step)) for step in range(6)] == [float(schedule(s)) for s in range(6)]
