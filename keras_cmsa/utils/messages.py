"""What a person is told: errors, and what has changed."""

import re
from unicodedata import category


def in_words(error):
    """The message of an error, printable, without the number that the system gives it: `str`."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return printable(re.sub(r"\[Errno \d+\] ", "", text))


def printable(text):
    """A text whose control characters, which a terminal would obey, are shown as `\\x1b`."""
    return "".join(c if c in "\n\t" or category(c) != "Cc" else repr(c)[1:-1] for c in text)


def check_at_least(least, **values):
    """Raises a `ValueError` that names an argument below `least`; `None` is not given."""
    for name, value in values.items():
        if value is not None and not value >= least:  # NaN is no number of anything
            raise ValueError(f"`{name}` must be at least {least}. Received: {value}")


def check_within(least, most, **values):
    """Raises a `ValueError` that names an argument outside of `least` to `most`."""
    for name, value in values.items():
        if value is not None and not least <= value <= most:
            raise ValueError(f"`{name}` must be {least} to {most}. Received: {value}")


def differences(before, now):
    """A line for each name whose value differs between two dicts, in the order of the names."""
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
