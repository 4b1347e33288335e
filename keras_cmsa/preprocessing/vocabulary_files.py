"""Which kind of vocabulary a file holds."""

from keras_cmsa.preprocessing.released_vocabulary import ReleasedVocabulary
from keras_cmsa.preprocessing.vocabulary import JOINER, MAX_WORDS, Vocabulary, read_lines
from keras_cmsa.preprocessing.word_pieces import WordPieces


def load_vocabulary(path, max_words=MAX_WORDS):
    """Reads a file that `Vocabulary.save` wrote.

    Returns:
        `WordPieces` if a line starts with `##`, `ReleasedVocabulary` if the first lines are those
        of the authors' files, else `Vocabulary`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a vocabulary.
    """
    lines = read_lines(path)
    if tuple(lines[: len(ReleasedVocabulary.specials)]) == ReleasedVocabulary.specials:
        kind = ReleasedVocabulary
    elif any(line.startswith(JOINER) for line in lines):
        kind = WordPieces
    else:
        kind = Vocabulary
    return kind.from_lines(lines, path, max_words)
