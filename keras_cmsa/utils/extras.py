"""Libraries that extras bring: the one error where one is missing, and the one where one fails."""

import contextlib
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


@contextlib.contextmanager
def library_fault(what, advice=""):
    """Raises an `OSError` of one line for any error of a library but that one is missing.

    Args:
        what: could not be had, the beginning of the error; the library's reason follows.
        advice: its end, what to do.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # of the library's own, of files, of requests or of httpx
        reason = str(error).strip().split("\n")[0][:300]
        raise OSError(f"{what} ({type(error).__name__}: {reason}). {advice}".rstrip()) from error
