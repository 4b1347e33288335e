"""The relations between two things: each holds surely, perhaps, or not at all.

Lengths are fractions of the image's side; x grows to the right and y downwards.
"""

CLEAR = 0.12  # least distance between the centres for "left of", "above", ...
NEAR, FAR = 0.07, 0.17  # surely "next to" up to NEAR, surely not beyond FAR


def _beside(ahead, aside):
    """Whether a thing lies in some direction: surely within 40 degrees, perhaps within 70.

    `ahead` is the distance of the centres along the direction, `aside` the distance across it.
    """
    return ahead > 0.36 * abs(aside) - 0.02, ahead >= CLEAR and ahead >= 1.2 * abs(aside)


# Each function takes two things, and `hiding`: whether the first hides the second, and the second
# the first. It returns (perhaps, surely). Things overlap clearly or keep apart, so "touching" is
# always sure.
RELATIONS = {
    "left of": lambda a, b, hiding: _beside(b.x - a.x, b.y - a.y),
    "right of": lambda a, b, hiding: _beside(a.x - b.x, b.y - a.y),
    "above": lambda a, b, hiding: _beside(b.y - a.y, b.x - a.x),
    "below": lambda a, b, hiding: _beside(a.y - b.y, b.x - a.x),
    "next to": lambda a, b, hiding: tuple(a.distance(b) <= most for most in (FAR, NEAR)),
    "touching": lambda a, b, hiding: (any(hiding), any(hiding)),
    "in front of": lambda a, b, hiding: (hiding[0], hiding[0]),
    "behind": lambda a, b, hiding: (hiding[1], hiding[1]),
}
