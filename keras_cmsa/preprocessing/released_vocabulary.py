"""The words of the authors' released code and their ids."""

from keras_cmsa.preprocessing.vocabulary import MAX_WORDS, Vocabulary, read_lines
from keras_cmsa.preprocessing.words import RUN, SPACES, folded


class ReleasedVocabulary(Vocabulary):
    """A vocabulary of the authors' released code, with its rules for what is a word.

    The ids are 0 padding, 1 and 2 marks that no expression has, 3 `<unk>`, then the words in the
    order of the authors' file. After rules 1 to 3 of `keras_cmsa.preprocessing.words`,

    4. a word is a longest run of word characters or `_`, and a longest run of all other characters
       is a word too, without the white space around it; white space alone is none;
    5. a full stop at the end is dropped.

    Args:
        words: the words from id 4 on. A text that is no word holds the place of an id.
        max_words: words per expression N. Authors: 20.

    Source: https://github.com/chenxi116/TF-phrasecut-public, which the authors' code builds upon.
    """

    tokenizer = "released"
    specials = ("<pad>", "<go>", "<eos>", "<unk>")
    unknown = "<unk>"

    @staticmethod
    def is_valid_word(word):
        return bool(word) and word == word.strip(SPACES)

    @classmethod
    def from_authors_file(cls, path, max_words=MAX_WORDS):
        """Reads a vocabulary of the authors' code: a word per line, which says its id.

        Their files have blank lines, and of a word that occurs twice the last line counts. The
        places of the others are held by `<unused 37>` and the like, which no expression has.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it does not begin like such a file.
        """
        words = [line.strip(SPACES) for line in read_lines(path)]
        if words[-1:] == [""]:
            words.pop()
        count = len(cls.specials)
        if tuple(words[:count]) != cls.specials:
            raise ValueError(
                f"{path} is not a vocabulary of the authors' code. Wanted the lines "
                f"{', '.join(cls.specials)}, then one word per line. Received: {words[:count]}"
            )
        last = {word: i for i, word in enumerate(words)}
        return cls(
            [
                word if word and last[word] == i else f"<unused {i}>"
                for i, word in enumerate(words[count:], count)
            ],
            max_words,
        )

    def split_words(self, expression):
        runs = (run.strip(SPACES) for run in RUN.findall(folded(expression)))
        words = [run for run in runs if run]
        return words[:-1] if words[-1:] == ["."] else words
