"""Plans and finds the sentences of a scene: how many, of which kinds, about which things.

There are five kinds of expressions:

    attribute   "red striped circle", "the biggest star"
    location    "circle on the left", "topmost star"
    ordinal     "second circle from the left"
    relation    "the red square above the big star"
    order       "circle left of the square"; "square left of the circle" is another thing

Except in `attribute`, the noun phrase alone is never enough: "circle on the left" refers to one of
several circles. An `order` expression always comes with its counterpart of the same words, so a
model that ignores the order of words cannot distinguish the two.
"""

from typing import NamedTuple

from keras_cmsa.data.ref_shapes.finders import FINDERS

# The fraction of sentences of each kind. The kinds that are hardest to find come first.
SHARES = {"order": 0.05, "ordinal": 0.03, "relation": 0.07, "location": 0.41, "attribute": 0.44}

MIN_REFS, MAX_REFS = 2, 3  # refs per scene
MAX_SENTENCES = 3  # sentences per ref
TRIES = 60  # tries to find an expression


class Sentence(NamedTuple):
    """A sentence of lower-case words without punctuation, and its kind.

    One that nothing fits also has its planted word, and its original: that sentence with another
    word in the place of the planted one, which fits.
    """

    words: str
    kind: str
    planted: str = ""
    original: str = ""


def draw_plan(rng):
    """Draws a plan for a scene: the number of refs, and the kinds of their sentences.

    An `order` stands for two sentences. Over many plans the kinds have their `SHARES`.
    """
    refs = int(rng.integers(MIN_REFS, MAX_REFS + 1))
    sentences = int(rng.integers(refs, 2 * refs + 2))
    shares = dict(SHARES)
    has_pair = bool(rng.random() < shares.pop("order") * sentences / 2)
    names, weights = list(shares), [share / sum(shares.values()) for share in shares.values()]
    drawn = rng.choice(len(names), size=sentences - 2 if has_pair else sentences, p=weights)
    kinds = [names[n] for n in sorted(drawn)]
    if has_pair:
        kinds = ["order", *kinds]
    return refs, kinds


def find_expressions(rng, judge, refs, kinds, targets):
    """Finds the planned sentences for a scene.

    Args:
        rng: a NumPy `Generator`.
        judge: the scene's `Judge`.
        refs, kinds: from `draw_plan`.
        targets: places in the scene of the things that sentences may refer to.

    Returns:
        `{target: [Sentence, ...]}`, or None if the scene does not allow the plan.
    """
    if len(targets) < refs:
        return None
    sentences_of = {}
    for place, kind in enumerate(kinds):
        open_targets = _open_targets(sentences_of, refs, len(kinds) - place, targets)
        pairs = _find(kind, rng, judge, open_targets)
        if pairs is None:
            return None
        for words, target in pairs:
            sentences_of.setdefault(target, []).append(Sentence(words, kind))
    has_repeats = any(
        len({sentence.words for sentence in sentences}) < len(sentences)
        for sentences in sentences_of.values()
    )
    return None if has_repeats or len(sentences_of) < MIN_REFS else sentences_of


def _open_targets(sentences_of, refs, sentences_left, targets):
    """The targets that the next sentence may refer to, to end with the planned number of refs."""
    new = [target for target in targets if target not in sentences_of]
    if len(sentences_of) + sentences_left <= refs:
        return new
    again = [target for target, sentences in sentences_of.items() if len(sentences) < MAX_SENTENCES]
    return again + new if len(sentences_of) < refs else again


def _find(kind, rng, judge, targets):
    """Pairs of `(words, target)`: two for `order`, else one. None after `TRIES` tries."""
    for _ in range(TRIES):
        pairs = FINDERS[kind](rng, judge)
        if pairs and all(target in targets for _, target in pairs):
            return pairs
    return None
