"""`keras-cmsa synthesize`: RefShapes as files."""

from pathlib import Path

from keras_cmsa.utils.files import check_folder
from keras_cmsa.utils.messages import check_at_least


def synthesize(root: Path, *, seed: int = 0):
    """Draw RefShapes, scenes with unambiguous expressions, as a REFER root.

    Parameters
    ----------
    root
        Folder to write; must not hold other data.
    seed
        The same seed gives the same files.
    """
    check_at_least(0, seed=seed)
    check_folder(root)
    from keras_cmsa.data.ref_shapes import write_ref_shapes

    write_ref_shapes(root, seed=seed)
