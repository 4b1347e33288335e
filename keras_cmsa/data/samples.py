"""Reads a record's image and mask."""


def read_sample(record, preprocessor):
    """Reads a record at the network's size.

    Returns:
        `(image, mask)`: `(S, S, 3)` float32 in 0..255 and `(S, S, 1)` float32 of 0 and 1.
    """
    image, mask = read_pixels(record)
    return preprocessor.image(image), preprocessor.mask(mask)


def read_pixels(record):
    """Reads a record at its original size.

    Returns:
        `(image, mask)`: `(H, W, 3)` uint8 RGB and `(H, W)` uint8 of 0 and 1.

    Raises:
        FileNotFoundError: if the image file is missing.
        ValueError: if the image or the mask cannot be read, or their sizes differ; names the file.
    """
    image, mask = record.image(), record.mask()
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"{record.describe()}: wanted an image of the annotation's size {mask.shape} (height, "
            f"width). Received: {image.shape[:2]}. Is this the image of the data set?"
        )
    return image, mask
