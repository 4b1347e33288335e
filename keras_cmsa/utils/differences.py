"""What has changed since a folder was begun, in words."""


def differences(before, now):
    """A line for each name whose value differs between two dicts, in the order of the names."""
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
