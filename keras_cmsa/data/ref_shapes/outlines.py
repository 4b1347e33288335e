"""The outlines of the eight shapes."""

import numpy as np


def _regular(corners, first_angle):
    angles = first_angle + 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star():
    points = _regular(10, -np.pi / 2)
    points[1::2] *= 0.52
    return points


def _cross():
    arm = 0.42
    quarter = np.array([[-arm, -1.0], [arm, -1.0], [arm, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # 90 degrees
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, n) for n in range(4)])


def _heart():
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _unit(points):
    """The outline, stretched to the box from -0.5 to 0.5."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / (high - low) - 0.5


_CIRCLE = _unit(_regular(40, 0.0))

# Each outline is `(points, 2)`, x to the right and y down, in the box from -0.5 to 0.5.
OUTLINES = {
    "circle": _CIRCLE,
    "oval": _CIRCLE,
    "ring": _CIRCLE,
    "heart": _unit(_heart()),
    "square": np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
    "triangle": np.array([[0.0, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
    "star": _unit(_star()),
    "cross": _unit(_cross()),
}
