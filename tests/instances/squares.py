"""Frames of coloured squares, and the visible mask of each."""

from __future__ import annotations

import numpy as np

SIZE = (120, 160)
RED, BLUE, GREEN = (220, 40, 40), (40, 60, 220), (40, 200, 60)


def scene(*squares: tuple[tuple[int, int, int], int, int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Frame with squares (colour, y, x, side), later ones in front, and the visible mask of each."""
    rng = np.random.default_rng(0)
    frame = rng.integers(90, 130, (*SIZE, 3), np.uint8)
    owner = np.zeros(SIZE, int)
    for number, (colour, y, x, side) in enumerate(squares, 1):
        where = (slice(max(0, y), max(0, y + side)), slice(max(0, x), max(0, x + side)))
        noise = rng.integers(-20, 20, (*frame[where].shape[:2], 1))
        frame[where] = np.clip(np.array(colour) + noise, 0, 255)
        owner[where] = number
    return frame, [owner == k for k in range(1, len(squares) + 1)]
