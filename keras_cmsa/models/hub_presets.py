"""The one error for a preset of KerasHub that does not load."""

import contextlib


@contextlib.contextmanager
def preset_fault(source, wanted):
    """Whatever a preset lacks is one error that names the preset; a missing library stays its own.

    Args:
        source: its name or folder.
        wanted: what it was wanted for and with, for the error.

    Raises:
        OSError: in place of what KerasHub raises.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # of files, of KerasHub, of safetensors
        reason = str(error).strip().splitlines()[:1]
        raise OSError(f"wanted {wanted}. Received: {str(source)!r}: {''.join(reason)}") from error
