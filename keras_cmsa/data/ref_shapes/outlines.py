"""The outlines of the twelve shapes."""

import numpy as np


def _regular(corners, first_angle):
    angles = first_angle + 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star():
    points = _regular(10, -np.pi / 2)
    points[1::2] *= 0.45
    return points


def _cross():
    arm = 0.36
    quarter = np.array([[-arm, -1.0], [arm, -1.0], [arm, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # 90 degrees
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, n) for n in range(4)])


def _heart():
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _moon():
    outer = np.linspace(0.35, 2 * np.pi - 0.35, 32)
    inner = np.linspace(2 * np.pi - 0.62, 0.62, 20)
    rim = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    bite = np.stack([0.38 + 0.62 * np.cos(inner), 0.62 * np.sin(inner)], axis=1)
    return np.concatenate([rim, bite])


def _drop():
    t = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    return np.stack([0.75 * np.sin(t) * np.sin(t / 2) ** 1.2, -np.cos(t)], axis=1)


def _unit(points):
    """The same outline, stretched into the box from -0.5 to 0.5."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / (high - low) - 0.5


_CIRCLE = _unit(_regular(40, 0.0))
_SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])

# Each `(points, 2)`, x to the right and y down, in the box from -0.5 to 0.5.
OUTLINES = {
    "circle": _CIRCLE,
    "oval": _CIRCLE,
    "ring": _CIRCLE,
    "heart": _unit(_heart()),
    "moon": _unit(_moon()),
    "drop": _unit(_drop()),
    "square": _SQUARE,
    "rectangle": _SQUARE,
    "triangle": np.array([[0.0, -0.5], [0.5, 0.5], [-0.5, 0.5]]),
    "diamond": np.array([[0.0, -0.5], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]]),
    "star": _unit(_star()),
    "cross": _unit(_cross()),
}
