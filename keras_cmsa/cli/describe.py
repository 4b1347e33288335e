"""`keras-cmsa describe`: sentences for those who have masks and none."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keras_cmsa.utils.files import check_folder
from keras_cmsa.utils.messages import check_at_least, check_within


def describe(
    instances: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    images: Path | None = None,
    val: float = 0.1,
    most: int = 3,
    min_area: float = 0.005,
    seed: int = 0,
):
    """Make sentences about the objects of photos, as a table to train on.

        keras-cmsa describe instances.json --images photos -o mine

    Each sentence, such as "second dog from the left", is true of one object of its photo alone, as
    far as the photo is annotated.

    Parameters
    ----------
    instances
        Annotations in COCO's form: images, annotations with masks, categories.
    output
        New folder: table.csv, and images/ with the photos.
    images
        Folder of the photos; that of the annotations if not given.
    val
        Share of the photos for val; the others are for train.
    most
        Largest number of sentences of an object.
    min_area
        Share of the photo below which an object is too small for a sentence.
    seed
        The same seed gives the same sentences and splits.
    """
    check_within(0, 1, val=val, min_area=min_area)
    check_at_least(1, most=most)
    check_folder(output)
    from keras_cmsa.data.descriptions import writer

    images = instances.parent if images is None else images
    counts = writer.describe_instances(
        instances, images, output, val, most, min_area, seed, progress=True
    )
    reasons = (writer.SMALL, writer.ALIKE, writer.CROWD, writer.BAD_MASK)
    objects = counts["described"] + sum(counts[reason] for reason in reasons)
    print(
        f"{counts['photos']:,} photos, {objects:,} objects, {counts['described']:,} of them "
        f"({counts['described'] / max(objects, 1):.0%}) with a sentence\n"
        f"without: {', '.join(f'{counts[reason]:,} {reason}' for reason in reasons)}\n"
        f"{counts['sentences']:,} sentences about {counts['train']:,} photos in train and "
        f"{counts['val']:,} in val: {output / 'table.csv'}"
    )
