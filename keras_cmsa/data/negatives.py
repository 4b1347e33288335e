"""Sentences that fit nothing in an image, made of the sentences of a data set.

They cost no annotation, and keep a model able to say "nothing" while it learns from photos whose
sentences all have a target.
"""

from keras_cmsa.data.record import by_image

# Words of which one makes another sentence of the same kind. Places are none of them: who says "left
# cup" hints at another on the right.
EXCHANGES = (
    ("big", "small"),
    ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "gray",
     "grey"),
)  # fmt: skip
# Words that say the same, or one of which includes the other: none of them is new beside another.
ALIKE = (
    {"man", "guy", "dude", "boy", "woman", "lady", "girl", "person", "people", "kid", "child",
     "player", "someone", "he", "she", "him", "her"},
    {"gray", "grey", "silver"},
    {"big", "bigger", "biggest", "large", "larger", "largest"},
    {"small", "smaller", "smallest", "little", "tiny"},
)  # fmt: skip
# Words that tell nothing of a thing.
FILLING = set(
    "a an the of in on at to with and or by is are it its his their this that which who one thing "
    "from for near side most far very not no only up out middle center centre left right top bottom "
    "front back first second third fourth all both two three".split()
)
TRIES = 8  # for a sentence before an image goes without


class Negatives:
    """Draws sentences that fit nothing in the images of some records.

    A candidate is the sentence of another image, or one of the image's own with one word exchanged:
    a size, a colour or a class. It is taken if a word of it, not of its place, occurs in no sentence
    that fits something in the image, and if none of its classes is there, where the data have
    classes. A thing that is there and that nobody mentioned can still make it fit.

    Args:
        records: list of `Record`.
        per_image: sentences to draw for a row of a batch.
    """

    def __init__(self, records, per_image):
        self.records, self.per_image = records, per_image
        names = {name for record in records for name in record.categories}
        heads = sorted({name.split()[-1] for name in names})
        # The colours last: "orange" is a class of COCO's too.
        self.exchanges = {word: group for group in (heads, *EXCHANGES) for word in group}
        self.words, self.classes = {}, {}
        for rows in by_image(records):
            fitting = [records[i] for i in rows if records[i].targets]
            known = {canonical(word) for r in fitting for word in r.expression.split()}
            classes = frozenset().union(*(r.image_categories | r.categories for r in fitting))
            known |= {canonical(word) for name in classes for word in name.split()}
            for i in rows:
                self.words[i], self.classes[i] = known, classes

    def draw(self, own, random):
        """Sentences that fit nothing in an image, at most `per_image`, as `str`.

        Args:
            own: indices of records of the image, one or more.
            random: NumPy `Generator`.
        """
        sentences = []
        if not self.words[own[0]]:  # nothing is known of the image
            return sentences
        for _ in range(TRIES * self.per_image):
            if len(sentences) == self.per_image:
                break
            one = random.choice(own)
            make = self.with_a_word_exchanged if random.random() < 0.5 else self.of_another_image
            if sentence := make(one, random):
                sentences.append(sentence)
        return sentences

    def of_another_image(self, own, random):
        """A random sentence, if it fits nothing in the image of the record `own`; else `None`."""
        other = self.records[random.integers(len(self.records))]
        is_there = other.categories & self.classes[own]
        if not other.targets or is_there or not self.is_new(other.expression, own):
            return None
        return other.expression

    def with_a_word_exchanged(self, own, random):
        """The sentence of a record with a word exchanged, if it fits nothing then; else `None`."""
        words = self.records[own].expression.split()
        places = [n for n, word in enumerate(words) if word in self.exchanges]
        if not places or not self.records[own].targets:
            return None
        place = random.choice(places)
        new = str(random.choice(self.exchanges[words[place]]))
        sentence = " ".join([*words[:place], new, *words[place + 1 :]])
        return sentence if self.is_new(sentence, own) else None

    def is_new(self, sentence, own):
        """Whether a word of a sentence occurs in none that fits something in the image."""
        words = {canonical(word) for word in sentence.split() if word not in FILLING}
        return bool(words - self.words[own])


def canonical(word):
    """The word that stands for those that say the same, in the singular."""
    word = word[:-1] if word.endswith("s") and len(word) > 3 else word
    return next((min(group) for group in ALIKE if word in group), word)
