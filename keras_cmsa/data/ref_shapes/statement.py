"""What a sentence says before its words are drawn: what it matches in a scene, and its wordings."""

from typing import NamedTuple

from keras_cmsa.data.ref_shapes.finders import NUMBERS, SIDES, form_of_zone
from keras_cmsa.data.ref_shapes.meaning import Noun
from keras_cmsa.data.ref_shapes.wording import (
    draw_pattern,
    draw_plural_pattern,
    phrase_noun,
    word_for,
)

COUNTS = {2: "two", 3: "three", 4: "four"}


class Statement(NamedTuple):
    """What a sentence says of the things that `noun` names; None for what it does not say.

    Attributes:
        noun: `Noun`.
        is_plural: whether it refers to all that match rather than to the one that matches.
        zone: name of a zone.
        number: how many they are, which is always right.
        most: a side or `"biggest"`, `"smallest"`.
        nth: place in the row that is counted from `side`, 0 for the first.
        side: where a row begins.
        relation: to a thing of `anchor`.
        anchor: `Noun`.
    """

    noun: Noun
    is_plural: bool = False
    zone: str | None = None
    number: int | None = None
    most: str | None = None
    nth: int | None = None
    side: str | None = None
    relation: str | None = None
    anchor: Noun | None = None

    def matches(self, judge):
        """The `Matches` of the statement; `number` counts them and decides nothing."""
        head = judge.noun(self.noun)
        if self.zone:
            head = head.both(judge.zone(self.zone))
        if self.most:
            head = judge.most(head, self.most)
        if self.nth is not None:
            head = judge.nth(head, self.nth, self.side)
        if self.relation:
            head = judge.related(head, self.relation, judge.noun(self.anchor))
        return head

    def targets(self, judge):
        """The things that it clearly refers to, in order: none, one or, if plural, several."""
        surely, perhaps = self.matches(judge)
        fits = surely == perhaps and (len(surely) > 1) == self.is_plural
        return tuple(sorted(surely)) if fits else ()

    def phrase(self, rng):
        """Draws its words. By the same draws, statements of two names often differ in one word."""
        if self.is_plural:
            pattern = draw_plural_pattern(rng, self._form(), COUNTS.get(self.number))
        else:
            pattern = draw_pattern(rng, self._form())
        slots = {
            "side": self.zone or self.most or self.side,
            "most": self.most,
            "nth": None if self.nth is None else NUMBERS[self.nth],
            "relation": self.relation,
        }
        words = {slot: word_for(rng, name) for slot, name in slots.items() if name}
        words["head"] = phrase_noun(rng, self.noun, self.is_plural)
        if self.anchor:
            words["anchor"] = phrase_noun(rng, self.anchor)
        return pattern.format(**words)

    def _form(self):
        if self.zone:
            return form_of_zone(self.zone)
        if self.most:
            return f"farthest {SIDES[self.most]}" if self.most in SIDES else "most"
        return "nth" if self.side else "relation" if self.relation else "attribute"
