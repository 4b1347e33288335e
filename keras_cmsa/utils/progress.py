"""Progress bars in the terminal."""


def with_progress_bar(items, description, show=True):
    """Iterates over a sequence and shows a progress bar.

    Args:
        items: sequence to iterate over.
        description: `str` in front of the bar.
        show: if false, there is no bar.

    Returns:
        Iterable of the items.
    """
    if not show:
        return items
    from rich.progress import track

    return track(items, description=description)
