"""Paints a scene: coloured and textured things on an uneven background of faint contrast."""

import numpy as np
from PIL import Image, ImageDraw

RGB = {
    "red": (205, 35, 40),
    "orange": (242, 130, 25),
    "yellow": (242, 218, 45),
    "green": (40, 150, 65),
    "blue": (40, 85, 210),
    "purple": (130, 60, 170),
}
JITTER = 12  # largest change of a colour, in levels up or down
RIM = 0.62  # brightness of a thing's rim, as a fraction of the thing's own
GRAIN = 8  # range of the noise, in levels

# Periods as fractions of a thing's extent; long enough to show textures in an image of 160 pixels.
PERIODS = {"striped": 0.25, "dotted": 0.25, "checkered": 0.3}
DOT_RADIUS = 0.3  # in periods
LIGHT, DARK = (250, 248, 244), (70, 45, 45)
TAKES_DARK = ("yellow",)  # colours on which a light second tone would hardly show


def paint(rng, scene, masks):
    """Paints the image of a scene.

    Args:
        rng: a NumPy `Generator`.
        scene: a `Scene`.
        masks: the whole mask of each thing, `(side, side)` bool, from back to front.

    Returns:
        `(side, side, 3)` uint8 RGB.
    """
    side = len(masks[0])
    image = _backdrop(rng, side)
    codes = np.zeros((side, side), np.uint8)  # indices into `tones`; 0 is the background
    tones = [(0, 0, 0)]
    for thing, mask in zip(scene.things, masks):
        _write_codes(rng, codes, thing, mask, len(tones))
        tones += _tones(rng, thing)
    things = Image.fromarray(codes)
    things.putpalette(_safe(tones).tobytes())
    image.paste(things.convert("RGB"), mask=Image.fromarray(codes > 0))
    grain = np.frombuffer(rng.bytes(side * side), np.uint8).reshape(side, side) // (256 // GRAIN)
    return np.asarray(image) - GRAIN // 2 + np.dstack([grain] * 3)


def _backdrop(rng, side):
    """Paints soft blobs and faint lines in nearly grey tones: a PIL image."""
    tone = rng.uniform(105, 205) + rng.uniform(-9, 9, size=3)
    blobs = tone + rng.uniform(-24, 24, size=(5, 5, 1)) + rng.uniform(-7, 7, size=(5, 5, 3))
    image = Image.fromarray(_safe(blobs)).resize((side, side), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        faint = _safe(tone + rng.uniform(-26, 26)).tolist()
        ends = rng.uniform(-0.1, 1.1, size=4) * side
        draw.line(ends.tolist(), fill=tuple(faint), width=int(rng.integers(1, 4)))
    return image


def _safe(tones):
    """Clips tones so that the grain cannot push them out of range: uint8."""
    return np.clip(tones, GRAIN, 255 - GRAIN).astype(np.uint8)


def _write_codes(rng, codes, thing, mask, first):
    """Writes a thing's three codes, from `first` on, into `codes`: body, second tone, rim."""
    side = len(codes)
    box = _box(thing, side)
    inside, crop = mask[box], codes[box]
    crop[inside] = first
    if thing.texture != "plain":
        crop[inside & _texture(rng, thing, inside.shape, side)] = first + 1
    crop[inside & ~_eroded(inside, max(1, side // 120))] = first + 2


def _tones(rng, thing):
    """Draws the three tones of a thing: body, second tone, rim."""
    body = RGB[thing.colour] + rng.uniform(-JITTER, JITTER, size=3)
    second = 0.3 * body + 0.7 * np.array(DARK if thing.colour in TAKES_DARK else LIGHT)
    return [body, second, RIM * body]


def _box(thing, side):
    """The rows and columns of a thing, with a margin of one pixel within the image."""
    left, up, right, down = thing.reach
    rows = slice(max(int((thing.y + up) * side) - 1, 0), int((thing.y + down) * side) + 2)
    columns = slice(max(int((thing.x + left) * side) - 1, 0), int((thing.x + right) * side) + 2)
    return rows, columns


def _texture(rng, thing, shape, side):
    """Draws where the second tone goes: bool of `shape`."""
    period = PERIODS[thing.texture] * max(thing.extent, 0.2) * side
    angle = rng.uniform(-0.15, 0.15) + np.pi / 4 * rng.integers(4)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    cosine, sine = np.cos(angle) / period, np.sin(angle) / period
    along = _from_middle(columns * cosine + rows * sine + rng.random())
    if thing.texture == "striped":
        return along < 0
    across = _from_middle(rows * cosine - columns * sine + rng.random())
    if thing.texture == "dotted":
        return along**2 + across**2 < DOT_RADIUS**2
    return (along < 0) ^ (across < 0)


def _from_middle(periods):
    """The distance of each place from the middle of its period, from -0.5 to 0.5."""
    return periods - np.rint(periods)


def _eroded(mask, margin):
    """The pixels of a mask whose four neighbours at a distance of `margin` are in the mask too."""
    inner = mask.copy()
    inner[margin:] &= mask[:-margin]
    inner[:-margin] &= mask[margin:]
    inner[:, margin:] &= mask[:, :-margin]
    inner[:, :-margin] &= mask[:, margin:]
    return inner
