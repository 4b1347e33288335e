"""Finds sentences that refer to several things of a scene, and sentences that refer to none.

    plural   "all stars", "the red things on the left"
    count    "three stars", where exactly three stars are
    except   "everything but the red star": all other things are meant
    absent   "red ring", where things are red and none is a ring

An absent sentence is one that fits the scene, its original, with one word exchanged. Nothing even
perhaps matches it, and only that planted word tells: the scene has what the other words say.
"""

from functools import partial

import numpy as np

from keras_cmsa.data.ref_shapes.expressions import TRIES, Sentence
from keras_cmsa.data.ref_shapes.finders import NUMBERS, RELATIONS, SIDES, draw_noun
from keras_cmsa.data.ref_shapes.meaning import ZONES, Noun
from keras_cmsa.data.ref_shapes.statement import Statement
from keras_cmsa.data.ref_shapes.things import SHAPES, TEXTURES
from keras_cmsa.data.ref_shapes.wording import PATTERNS, phrase_noun, pick

# The fraction of each kind, of the sentences with several targets and of the originals of those
# without. The latter are as the sentences that fit.
SEVERAL = {"plural": 0.5, "count": 0.25, "except": 0.25}
NONE = {
    "attribute": 0.32,
    "location": 0.28,
    "ordinal": 0.02,
    "relation": 0.08,
    "plural": 0.2,
    "count": 0.1,
}

SIZES = ("biggest", "smallest")

# What may stand in the place of a name. A number stays: where two stars are, "three stars" still
# names things that are there.
NAMES = {
    "shape": SHAPES,
    "size": ("small", "big"),
    "texture": TEXTURES,
    "zone": tuple(ZONES),
    "nth": range(len(NUMBERS)),
    "relation": RELATIONS,
}
OWN_NAMES = ("zone", "nth", "relation")  # those of a statement; the others are a noun's


def add_several_and_none(rng, judge, sentences_of, things, colours):
    """Adds sentences with several targets and with none, each half as many as with one.

    Args:
        rng: a NumPy `Generator`.
        judge: the scene's `Judge`.
        sentences_of: `{target: [Sentence, ...]}`, a target of each.
        things: places in the scene of the things that sentences may refer to.
        colours: names of the colours that sentences may name.

    Returns:
        `{(target, ...): [Sentence, ...]}`, or None if the scene does not allow it.
    """
    groups = {(target,): list(sentences) for target, sentences in sentences_of.items()}
    known = [sentence.words for sentences in groups.values() for sentence in sentences]
    several, none = ((len(known) + int(rng.integers(2))) // 2 for _ in range(2))
    finders = [(find_several, SEVERAL)] * several
    finders += [(partial(find_none, names=NAMES | {"colour": colours}), NONE)] * none
    for find, shares in finders:
        kind = str(rng.choice(list(shares), p=list(shares.values())))
        for _ in range(TRIES):
            sentence, targets = find(rng, judge, kind) or (None, ())
            if sentence and set(targets) <= set(things) and sentence.words not in known:
                break
        else:
            return None
        known.append(sentence.words)
        groups.setdefault(targets, []).append(sentence)
    return groups


def find_several(rng, judge, kind):
    """Makes one try to find a sentence with several targets: `(Sentence, targets)` or None."""
    if kind != "except":
        statement = _draw_statement(rng, judge, kind)
        targets = statement.targets(judge)
        return (Sentence(statement.phrase(rng), kind), targets) if targets else None
    noun = draw_noun(rng, judge)
    others, perhaps = judge.noun(noun)
    targets = tuple(place for place in range(len(judge.things)) if place not in others)
    if others != perhaps or len(targets) < 2:
        return None
    head = phrase_noun(rng, noun, is_plural=len(others) > 1)
    return Sentence(pick(rng, PATTERNS["except"]).format(head=head), kind), targets


def find_none(rng, judge, kind, names):
    """Makes one try to find a sentence without a target: `(Sentence, ())` or None.

    `kind` is that of the original, and `names` has what may stand in the place of a name.
    """
    original = _draw_statement(rng, judge, kind)
    statement = _exchange(rng, original, names)
    if not original.targets(judge) or statement.matches(judge).perhaps:
        return None
    draws = int(rng.integers(2**32))
    words, fitting = (s.phrase(np.random.default_rng(draws)) for s in (statement, original))
    pairs = list(zip(words.split(), fitting.split()))
    planted = [word for word, before in pairs if word != before]
    if len(words.split()) != len(fitting.split()) or len(planted) != 1:
        return None
    return Sentence(words, "absent", planted[0], fitting), ()


def _draw_statement(rng, judge, kind):
    """Draws a statement of a kind, which may fit nothing."""
    if kind in ("plural", "count"):
        noun = draw_noun(rng, judge, shape=0.75, colour=0.35, texture=0.12, size=0.15)
        zone = pick(rng, tuple(ZONES)) if rng.random() < 0.4 or not any(noun) else None
        statement = Statement(noun, is_plural=True, zone=zone)
        number = len(statement.matches(judge).surely)
        return statement._replace(number=number) if kind == "count" else statement
    if kind == "attribute":
        noun = draw_noun(rng, judge, colour=0.92, texture=0.12, size=0.1)
        return Statement(noun, most=pick(rng, SIZES) if rng.random() < 0.15 else None)
    noun = draw_noun(rng, judge)
    if kind == "location":
        if rng.random() < 0.12:
            return Statement(noun, most=pick(rng, tuple(SIDES)))
        return Statement(noun, zone=pick(rng, tuple(ZONES)))
    if kind == "ordinal":
        return Statement(noun, nth=pick(rng, NAMES["nth"]), side=pick(rng, tuple(SIDES)))
    return Statement(noun, relation=pick(rng, RELATIONS), anchor=draw_noun(rng, judge))


def _exchange(rng, statement, names):
    """The statement with one of its names drawn again; the same name may be drawn."""
    nouns = {"noun": statement.noun, "anchor": statement.anchor or Noun()}
    slots = [(role, name) for role in nouns for name in Noun._fields if getattr(nouns[role], name)]
    # Another place often holds something too, so those are tried more often.
    slots += [(None, name) for name in OWN_NAMES if getattr(statement, name) is not None] * 4
    if not slots:
        return statement
    role, name = pick(rng, slots)
    new = {name: pick(rng, names[name])}
    return statement._replace(**({role: nouns[role]._replace(**new)} if role else new))
