"""Reads the image of some records, and their masks."""


def read_pixels(record):
    """Reads a record at its original size.

    Returns:
        `(image, mask)`: `(H, W, 3)` uint8 RGB and `(H, W)` uint8 of 0 and 1.

    Raises:
        FileNotFoundError: if the image file is missing.
        ValueError: if the image or the mask cannot be read, or their sizes differ; names the file.
    """
    image, (mask,) = read_image_and_masks([record])
    return image, mask


def read_image_and_masks(records):
    """`read_pixels` for records of one image: it, and a list of their masks.

    The mask of a target is drawn once, however many of the records are sentences about it.
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
