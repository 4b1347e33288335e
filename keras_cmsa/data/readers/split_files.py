"""Which files of a label tool belong to which split, as tools and people name them.

train/_annotations.coco.json    valid/_annotations.coco.json     a folder for each, as Roboflow
instances_train2017.json        instances_val2017.json           a word in the name, as COCO
anything else                                                    no split: `hold_out` makes val
"""

import re
import zlib

# {word in a name: split}; where several of a split are there, the last one counts.
WORDS = {
    "train": "train", "validation": "val", "valid": "val", "val": "val",
    "test": "test", "testA": "testA", "testB": "testB",
}  # fmt: skip
WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(WORDS, reverse=True))})(?![A-Za-z])")


def split_files(path):
    """Finds the files, or folders, of all splits beside a path.

    Args:
        path: `Path` of a file of one split, or of a folder with a folder for each.

    Returns:
        `{split: Path}`; `{None: path}` if no name tells a split.
    """
    if path.is_dir():
        files = {word: path / word for word in WORDS}
    elif path.parent.name in WORDS:
        files = {word: path.parents[1] / word / path.name for word in WORDS}
    elif match := WORD.search(path.stem):
        before, after = path.name[: match.start()], path.name[match.end() :]
        files = {word: path.with_name(f"{before}{word}{after}") for word in WORDS}
    else:
        files = {}
    splits = {WORDS[word]: file for word, file in files.items() if file.exists()}
    return splits or {None: path}


def split_in_name(path):
    """The split that the name of a file or of its folder tells; None if neither does."""
    match = WORD.search(path.stem)
    return WORDS.get(path.parent.name) or (match and WORDS[match[0]])


def hold_out(names):
    """Picks the images of val among those without a split: about a tenth, one at least of two.

    A name is picked by its own hash: no image of train comes to val as others join. Among the first
    few, where none or all are picked so, one may.

    Args:
        names: names of the images.

    Returns:
        Set of the names in val; the others are train.
    """
    hashes = {name: zlib.crc32(name.encode()) for name in names}
    tenth = sum(value < 2**32 // 10 for value in hashes.values())
    number = min(max(tenth, 1), len(hashes) - 1)
    return set(sorted(hashes, key=lambda name: (hashes[name], name))[:number])
