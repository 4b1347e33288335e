"""Augmentation: expressions stay true, samples stay whole, colours stay colours."""

import colorsys
import dataclasses

import numpy as np
import pytest
import tiny

from keras_cmsa.data import augment
from keras_cmsa.data.augment import Augmentation, mirror_expression
from keras_cmsa.data.pipeline import RecordBatches, mirror_words
from keras_cmsa.preprocessing.preprocessor import Preprocessor
from keras_cmsa.preprocessing.vocabulary import Vocabulary
from keras_cmsa.preprocessing.words import split_words


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("man on the left", "man on the right"),
        ("Right of the LEFT cup!", "left of the right cup"),
        ("leftmost zebra, righthand side", "rightmost zebra lefthand side"),
        ("bottomright lefty 3rd from right", "bottomleft righty 3rd from left"),
        ("bright shirt, upright bear, all right", "bright shirt upright bear all left"),
        ("leftover cake on a cleft", "leftover cake on a cleft"),
        ("girl on right in blue", "girl on left in blue"),
        ("the right one behind the tree", "the left one behind the tree"),
        ("red cup", "red cup"),
        ("", ""),
        ("guy right behind her", None),
        ("sky right above tree", None),
        ("glass left over", None),
        ("guy at 3 oclock", None),
        ("rt guy", None),
        ("r side", None),
        ("sign that says left", None),
        ("the word RIGHT on the wall", None),
        ("bottle labelled turnleft", None),
        ("man reading on the right", None),
        ("sign with “left” on it", None),
        ("the 'turn right' sign", None),
        ('arrow "to the left"', None),
        ("the dogs' bowl on the left, not the cat's", "the dogs bowl on the right not the cat s"),
        ('the "stop" sign on the left', "the stop sign on the right"),
        ("sign that says stop", "sign that says stop"),
    ],
)
def test_words_of_the_mirrored_scene(expression, expected):
    assert mirror_expression(expression) == expected


def test_quotation_marks_may_stand_in_the_raw_expression_alone(tmp_path):
    """A reader takes them out of the words."""
    assert mirror_expression("sign left", "Sign ‘LEFT’!") is None
    assert mirror_expression("sign left", "Sign, left!") == "sign right"
    record = tiny.records(tmp_path, 1)[0]
    quoted = dataclasses.replace(record, expression="box left", raw='box "left"')
    plain = dataclasses.replace(record, expression="box left", raw="box, left")
    vocabulary = tiny.vocabulary()
    mirrored, can_flip = mirror_words([quoted, plain], vocabulary)
    assert can_flip.tolist() == [False, True, True]
    np.testing.assert_array_equal(mirrored[:2], vocabulary.encode(["box left", "box right"]))


def test_mirroring_twice_gives_every_real_expression_back(samples):
    """And few cannot be mirrored."""
    expressions = [
        line
        for file in (samples / "expressions").glob("*.txt")
        for line in file.read_text("utf-8").splitlines()
    ]
    swapped = {expression: mirror_expression(expression) for expression in expressions}
    sure = {e: other for e, other in swapped.items() if other is not None}
    assert len(expressions) == 22_333 and len(sure) > 0.98 * len(swapped)
    for expression, other in sure.items():
        assert mirror_expression(other) in (" ".join(split_words(expression)), None)
    changed = [e for e in sure if sure[e] != " ".join(split_words(e))]
    assert len(changed) > 5000


def test_flips_follow_from_seed_and_place():
    one = Augmentation(seed=3)
    flips = one.flips(range(400))
    np.testing.assert_array_equal(flips[100:200], one.flips(range(100, 200)))
    assert 150 < flips.sum() < 250
    assert (Augmentation(seed=4).flips(range(400)) != flips).any()
    assert not Augmentation(flip=0).flips(range(50)).any()


@pytest.fixture
def records(tmp_path):
    return tiny.records(tmp_path, 8)


@pytest.fixture
def preprocessor(records):
    words = {word for record in records for word in record.expression.split()} | {"left", "right"}
    return Preprocessor(Vocabulary(sorted(words), max_words=tiny.WORDS), tiny.SIZE)


def test_everything_is_mirrored_together(records, preprocessor):
    """Image, mask and words; the one that cannot be mirrored stays."""
    records[0] = tiny.record(records[0].image_path, records[0].mask(), "rt box", 0)
    plain = RecordBatches(records, preprocessor, 8)
    flipped = RecordBatches(records, preprocessor, 8, augmentation=Augmentation(1, changes=False))
    (inputs, masks, _), (other, other_masks, _) = plain[0], flipped[0]
    for i, record in enumerate(records):
        turn = slice(None, None, -1 if i else 1)
        np.testing.assert_array_equal(other["image"][i], inputs["image"][i, :, turn])
        np.testing.assert_array_equal(other_masks[i, 0], masks[i, 0, :, turn])
        expression = mirror_expression(record.expression) if i else record.expression
        np.testing.assert_array_equal(
            other["words"][i, 0], preprocessor.vocabulary.encode([expression])[0]
        )
    assert (other["words"] != inputs["words"]).any()


def test_an_image_is_mirrored_with_all_its_expressions_or_not_at_all(records, preprocessor):
    """One that cannot be mirrored keeps the others of its row."""
    grouped = tiny.several_of_each(records[:2], [2, 2])
    stays = dataclasses.replace(grouped[0], expression="rt box")
    options = {"batch_size": 2, "per_image": 2, "augmentation": Augmentation(1, changes=False)}
    assert RecordBatches(grouped, preprocessor, **options).flips(0).tolist() == [True, True]
    flips = RecordBatches([stays, *grouped[1:]], preprocessor, **options).flips(0)
    assert flips.tolist() == [False, True]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside keras-cv
@pytest.mark.filterwarnings("ignore:.*:UserWarning:keras_cv")
def test_size_and_light_change_within_their_range(records, preprocessor):
    pytest.importorskip("keras_cv")
    augmentation = Augmentation(flip=0, seed=1)
    changed = RecordBatches(records, preprocessor, 3, augmentation=augmentation)
    plain = RecordBatches(records, preprocessor, 3)
    for (inputs, masks, _), (own, own_masks, _) in zip(changed, plain, strict=True):
        images = inputs["image"]
        assert images.shape == (len(masks), tiny.SIZE, tiny.SIZE, 3) and images.dtype == "float32"
        assert images.min() >= 0 and images.max() <= 255
        assert set(np.unique(masks)) == {0, 1}
        assert masks.any(axis=(2, 3, 4)).all(), "no object is cut away"
        assert (masks != own_masks).any(), "sizes change"
        np.testing.assert_array_equal(inputs["words"], own["words"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning:keras_cv")
def test_hues_stay(monkeypatch):
    """Of a dozen copies of an image, since what is drawn for one may be next to nothing."""
    pytest.importorskip("keras_cv")
    monkeypatch.setattr(augment, "SCALES", (1.0, 1.0))
    colours = np.array([(200, 60, 50), (60, 180, 70), (60, 80, 190)], "float32")
    images = np.zeros((12, 16, 16, 3), "float32")
    images[:, :12] = colours[np.arange(12) % 3][:, None]

    def hues(images):
        return [
            [colorsys.rgb_to_hsv(*image[row, 0] / 255)[0] for row in range(3)] for image in images
        ]

    changed = np.asarray(Augmentation()(images, np.ones((12, 16, 16, 1), "float32"))[0])
    assert np.abs(changed - images).max() > 3
    np.testing.assert_allclose(hues(changed), hues(images), atol=0.01)
    assert not changed[:, 12:].any(), "padding stays black"
