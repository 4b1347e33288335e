"""Reads the image of some records, and their masks."""


def read_image_and_masks(records):
    """Reads the image of some records and their masks at the original size.

    The mask of a target is drawn once, however many of the records are sentences about it.

    Returns:
        `(image, masks)`: `(H, W, 3)` uint8 RGB and a list of `(H, W)` uint8 of 0 and 1.

    Raises:
        FileNotFoundError: if the image file is missing.
        ValueError: if the image or a mask cannot be read, or their sizes differ; names the file.
    """
    image, masks = records[0].image(), {}
    for record in records:
        if target_of(record) in masks:
            continue
        mask = masks[target_of(record)] = record.mask()
        if image.shape[:2] != mask.shape:
            raise ValueError(
                f"{record.describe()}: wanted an image of the annotation's size {mask.shape} "
                f"(height, width). Received: {image.shape[:2]}. Is this the image of the data set?"
            )
    return image, [masks[target_of(record)] for record in records]


def target_of(record):
    """What tells the targets in an image apart: a ref may also have sentences that fit nothing."""
    return record.ref_id, record.targets > 0
