"""What is said of a scene: which kinds of sentences, about how many things, by which rules.

Five kinds, by what an expression leans on, and the stuff of ReferIt:

    attribute   "red striped circle", "the biggest star"
    location    "circle on the left", "topmost star"
    ordinal     "second circle from the left"
    relation    "the red square above the big star"
    order       "circle left of the square", where "square left of the circle" is another thing
    stuff       "blue sky", "the ground"

Beyond `attribute`, the noun phrase alone never suffices: "circle on the left" is said where there
are several circles. An `order` expression always comes with its counterpart, so whoever counts the
words and forgets their order cannot tell the two apart.
"""

from typing import NamedTuple

from keras_cmsa.data.ref_shapes.finders import FINDERS
from keras_cmsa.data.ref_shapes.wording import is_well_sized

# The part of the sentences that are of each kind, the hardest to find first.
SHARES = {
    "unc": {"order": 0.05, "ordinal": 0.03, "relation": 0.07, "location": 0.41, "attribute": 0.44},
    "unc+": {"order": 0.15, "relation": 0.35, "attribute": 0.5},
    "gref": {"order": 0.14, "ordinal": 0.12, "relation": 0.28, "location": 0.24, "attribute": 0.22},
    "referit": {
        "order": 0.10,
        "stuff": 0.16,
        "ordinal": 0.10,
        "relation": 0.20,
        "location": 0.24,
        "attribute": 0.20,
    },
}

MIN_REFS, MAX_REFS = 2, 3  # of a scene
MAX_SENTENCES = 3  # of a ref
TRIES = 60


class Sentence(NamedTuple):
    """A sentence in lower-case words without punctuation, and its kind."""

    words: str
    kind: str


class Plan(NamedTuple):
    """How many targets to speak of, and the kinds of the sentences; `order` stands for a pair."""

    refs: int
    kinds: list


def draw_plan(rng, flavour):
    """A plan of a flavour; over many plans the kinds have its `SHARES`."""
    refs = int(rng.integers(MIN_REFS, MAX_REFS + 1))
    sentences = int(rng.integers(refs, 2 * refs + 2))
    shares = dict(SHARES[flavour])
    has_pair = bool(rng.random() < shares.pop("order") * sentences / 2)
    names, weights = list(shares), [share / sum(shares.values()) for share in shares.values()]
    drawn = rng.choice(len(names), size=sentences - 2 * has_pair, p=weights)
    return Plan(refs, ["order"] * has_pair + [names[n] for n in sorted(drawn)])


def find_expressions(rng, judge, flavour, plan, targets):
    """Sentences as planned: `{target: [Sentence, ...]}`, or None if the scene does not offer them.

    Args:
        rng: a numpy `Generator`.
        judge: the scene's `Judge`.
        flavour: of `SHARES`.
        plan: a `Plan` of the flavour.
        targets: what may be spoken of: things by their place in the scene, and regions by theirs
            after the last thing.
    """
    if len(targets) < plan.refs:
        return None
    told = {}
    for place, kind in enumerate(plan.kinds):
        open_targets = _open_targets(told, plan, len(plan.kinds) - place, targets)
        pairs = _find(kind, rng, judge, flavour, open_targets)
        if pairs is None:
            return None
        for words, target in pairs:
            told.setdefault(target, []).append(Sentence(words, kind))
    repeats = any(len({sentence.words for sentence in of}) < len(of) for of in told.values())
    return None if repeats or len(told) < MIN_REFS else told


def _open_targets(told, plan, sentences_left, targets):
    """What the next sentence may speak of, such that there are as many refs as planned."""
    new = [target for target in targets if target not in told]
    if len(told) + sentences_left <= plan.refs:
        return new
    again = [target for target, sentences in told.items() if len(sentences) < MAX_SENTENCES]
    # Where regions use up what was planned, things have to come on top.
    most = MAX_REFS if "stuff" in plan.kinds else plan.refs
    return again + new if len(told) < most else again


def _find(kind, rng, judge, flavour, targets):
    """Pairs of words and a target: two for `order`, else one. None after too many tries."""
    for _ in range(TRIES):
        pairs = FINDERS[kind](rng, judge, flavour)
        if pairs and all(t in targets and is_well_sized(words, flavour) for words, t in pairs):
            return pairs
    return None
