"""The metrics against NumPy, counted mask by mask."""

import numpy as np
import pytest

from keras_cmsa.training.metrics import MeanSampleIoU, OverallIoU, PrecisionAt

pytestmark = pytest.mark.keras

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def draw(rng, count, size=6):
    """Masks, and logits that agree with them the more the later they come."""
    masks = rng.random((count, size, size, 1)) < 0.4
    right = rng.random(masks.shape) < np.linspace(0.5, 1.0, count)[:, None, None, None]
    logits = np.where(masks == right, 1, -1) * rng.uniform(0.01, 5, masks.shape)
    return masks.astype("float32"), logits.astype("float32")


def counts(masks, logits):
    """Intersection and union of each sample, as Python counts them."""
    pairs = [
        (set(zip(*np.nonzero(mask))), set(zip(*np.nonzero(logit > 0))))
        for mask, logit in zip(masks, logits)
    ]
    return [(len(true & found), len(true | found)) for true, found in pairs]


def measured(metric, batches, **options):
    for masks, logits in batches:
        metric.update_state(masks, logits, **options)
    return float(metric.result())


def row(pixels):
    """A mask of one row whose first `pixels` of ten are in: `(1, 1, 10, 1)`."""
    return (np.arange(10) < pixels).astype("float32").reshape(1, 1, 10, 1)


def logits_of(mask):
    return 4 * mask - 2


def test_metrics_equal_numpys_over_batches_of_different_sizes(seeded):
    masks, logits = draw(np.random.default_rng(5), 12)
    batches = [(masks[a:b], logits[a:b]) for a, b in ((0, 5), (5, 10), (10, 12))]
    pairs = counts(masks, logits)
    ious = np.array([i / u for i, u in pairs])
    assert len({*np.digitize(ious, THRESHOLDS)}) > 3  # the samples tell the thresholds apart
    overall = sum(i for i, _ in pairs) / sum(u for _, u in pairs)
    assert abs(overall - ious.mean()) > 0.01  # ... and the two IoUs
    assert measured(OverallIoU(), batches) == pytest.approx(overall, rel=1e-6)
    assert measured(MeanSampleIoU(), batches) == pytest.approx(ious.mean(), rel=1e-6)
    for x in THRESHOLDS:
        metric = PrecisionAt(x)
        assert metric.name == f"prec@{x}"
        assert measured(metric, batches) == pytest.approx(np.mean(ious > x), rel=1e-6)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_precision_at_the_threshold_itself(seeded, threshold):
    """An IoU of exactly X does not count."""
    at = [(row(10), logits_of(row(round(10 * threshold))))]
    above = [(row(10), logits_of(row(round(10 * threshold) + 1)))]
    assert measured(PrecisionAt(threshold), at) == 0.0
    assert measured(PrecisionAt(threshold), above) == 1.0


def test_a_logit_of_zero_is_background(seeded):
    logits = np.where(np.arange(10) < 5, 0.0, 1.0).astype("float32").reshape(1, 1, 10, 1)
    assert measured(MeanSampleIoU(), [(row(10), logits)]) == 0.5


def test_empty_masks(seeded):
    """Nothing to find and nothing found is right; what is found in an empty mask is wrong."""
    nothing, something = row(0), row(3)
    right, wrong = (nothing, logits_of(nothing)), (nothing, logits_of(something))
    assert measured(MeanSampleIoU(), [right]) == 1.0
    assert measured(MeanSampleIoU(), [wrong]) == 0.0
    assert measured(PrecisionAt(0.9), [right, wrong]) == 0.5
    assert measured(OverallIoU(), [right]) == 0.0  # no union: a number, not NaN
    assert measured(OverallIoU(), [right, (row(4), logits_of(row(2)))]) == 0.5


@pytest.mark.parametrize("rows", [(6,), (2, 3)])
def test_sample_weights_leave_samples_out(seeded, rows):
    """Also of samples in rows: they are measured as if one by one."""
    masks, logits = draw(np.random.default_rng(6), 6)
    weight = np.array([1, 0, 1, 1, 1, 0], "float32")
    chosen = weight > 0
    given = [x.reshape(*rows, *x.shape[1:]) for x in (masks, logits)]
    for make in (OverallIoU, MeanSampleIoU, lambda: PrecisionAt(0.6)):
        weighted = measured(make(), [given], sample_weight=weight.reshape(rows))
        wanted = measured(make(), [(masks[chosen], logits[chosen])])
        assert weighted == pytest.approx(wanted, rel=1e-6)


def test_metrics_serialise(seeded):
    at = [(row(10), logits_of(row(7)))]
    for metric in (OverallIoU(), MeanSampleIoU(name="m"), PrecisionAt(0.7)):
        twin = seeded.saving.deserialize_keras_object(seeded.saving.serialize_keras_object(metric))
        assert twin.get_config() == metric.get_config()
        assert measured(twin, at) == measured(metric, at)


def test_low_precision_logits_are_counted_in_full(seeded):
    """Sums of pixels go beyond what float16 can count."""
    mask = np.ones((2, 300, 300, 1), "float16")
    logits = np.where(np.arange(300) < 100, 1.0, -1.0).astype("float16")
    logits = np.broadcast_to(logits[:, None, None], mask.shape)
    assert measured(OverallIoU(), [(mask, logits)]) == pytest.approx(1 / 3, rel=1e-6)
