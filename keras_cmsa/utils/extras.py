"""The one error for a library that an extra of this package brings."""

import importlib


def require(module, extra, purpose):
    """Imports a library that only some uses need.

    Args:
        module: dotted name to import, such as `"pydensecrf.densecrf"`.
        extra: the extra of `keras-cmsa` that installs it.
        purpose: what needs it, the subject of the error.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: if it is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{purpose} needs {error.name}: pip install "keras-cmsa[{extra}]"', name=error.name
        ) from error
