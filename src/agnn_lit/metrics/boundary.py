"""F, the boundary score: how well the outlines of two masks agree within a tolerance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled
from agnn_lit.metrics.region import Inside, Mask, cropped, overlap

Indices = NDArray[np.int64]


def _boundary(inside: Inside) -> Inside:
    """Mark the pixels of a foreground (H, W) that differ from their right, lower or lower-right neighbour.

    The last column compares only downwards, the last row only rightwards, and the lower right corner is never set.
    """
    out = np.zeros(inside.shape, np.bool_)
    right, below = inside[:, :-1] ^ inside[:, 1:], inside[:-1] ^ inside[1:]
    out[:, :-1] = right
    out[:-1] |= below
    out[:-1, :-1] |= below[:, :-1] ^ right[1:]
    return out


@compiled
def _count_near(marked: Indices, others: Indices, height: int, width: int, radius: int) -> int:
    """Number of marked pixels (n,) within a disk dx² + dy² ≤ radius² of one of the others (m,).

    Both are ascending flat indices into a frame of this size.
    """
    starts = np.zeros(height + 1, np.int64)  # of each row among the others
    for k in range(len(others)):
        starts[others[k] // width + 1] += 1
    starts = np.cumsum(starts)
    reach = np.empty(radius + 1, np.int64)
    for step in range(radius + 1):
        reach[step] = int(math.sqrt(radius * radius - step * step))
    count = 0
    for k in range(len(marked)):
        y, x = divmod(marked[k], width)
        for turn in range(2 * radius + 1):  # rows at distance 0, 1, 1, 2, 2, …: near ones first
            step = (turn + 1) // 2
            row = y + step if turn % 2 else y - step
            if row < 0 or row >= height:
                continue
            first, last = row * width + x - reach[step], row * width + x + reach[step]
            at = starts[row] + np.searchsorted(others[starts[row] : starts[row + 1]], first)
            if at < starts[row + 1] and others[at] <= last:
                count += 1
                break
    return count


def agreement(inside_p: Inside, inside_g: Inside, radius: int) -> float:
    """F of two foregrounds (H, W) with a tolerance in pixels."""
    if inside_p.size == 0:
        return 1.0
    height, width = inside_p.shape
    marked_p, marked_g = np.flatnonzero(_boundary(inside_p)), np.flatnonzero(_boundary(inside_g))
    if not len(marked_p) or not len(marked_g):
        return float(len(marked_p) == len(marked_g))
    precision = _count_near(marked_p, marked_g, height, width, radius) / len(marked_p)
    recall = _count_near(marked_g, marked_p, height, width, radius) / len(marked_g)
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0


def region_and_boundary(prediction: Mask, annotation: Mask, radius: int) -> tuple[float, float]:
    """J and boundary accuracy F = 2PR / (P + R) of one frame.

    J is that of :func:`~agnn_lit.metrics.region.jaccard`. P is the share of the predicted boundary within ``radius`` of
    the annotated one, R the other way round; within means inside a disk x² + y² ≤ radius². F is 1 if both boundaries
    are empty, 0 if one of them is.

    Args:
        prediction: mask (H, W), foreground = any value > 0.
        annotation: mask (H, W), likewise.
        radius: tolerance in pixels.

    Raises:
        ValueError: the masks differ in size or are not two-dimensional, or the radius is negative.
    """
    if radius < 0:
        raise ValueError(f"radius={radius}: must be 0 or more pixels")
    inside_p, inside_g = cropped(prediction, annotation)
    return overlap(inside_p, inside_g), agreement(inside_p, inside_g, radius)
