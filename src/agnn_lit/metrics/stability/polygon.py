"""The longest outline of a mask as an evenly sampled polygon, as DAVIS-2016's temporal stability compares it.

It stays although OpenCV and scikit-image trace and simplify outlines, too: they keep other vertices, and T equals the
published values only with those of the official code, which this follows step by step.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled
from agnn_lit.metrics.region import Binary, Mask, binary, foreground_window
from agnn_lit.metrics.stability.contour import Corners, crack_loops

Points = NDArray[np.float64]

#: Tolerances of the two simplifications in half pixels: straight lines first, then the real one.
TOLERANCES = (0.1, 3.0)
#: Longest segment after upsampling, in pixels.
LONGEST_SEGMENT = 3.0


@compiled
def _thin(points: Points, tolerance: float) -> Points:
    """Drop vertices (n, 2) closer than the tolerance to the last one kept; the last vertex always stays."""
    kept = points.copy()
    count = 1
    for i in range(1, len(points)):
        dy, dx = points[i, 0] - kept[count - 1, 0], points[i, 1] - kept[count - 1, 1]
        if i == len(points) - 1 or dy * dy + dx * dx >= tolerance * tolerance:
            kept[count] = points[i]
            count += 1
    return kept[:count]


@compiled
def _squared_distance(points: Points, first: int, last: int, i: int) -> float:
    """Squared distance of vertex i to the segment from vertex ``first`` to ``last``, its foot in single precision."""
    vy, vx = points[last, 0] - points[first, 0], points[last, 1] - points[first, 1]
    wy, wx = points[i, 0] - points[first, 0], points[i, 1] - points[first, 1]
    along, length = wy * vy + wx * vx, vy * vy + vx * vx
    if along > 0:
        share = 1.0 if length <= along else np.float64(np.float32(along) / np.float32(length))
        wy, wx = wy - share * vy, wx - share * vx
    return wy * wy + wx * wx  # type: ignore[no-any-return]


@compiled
def simplify(points: Points, tolerance: float) -> Points:
    """Simplify a polyline (n, 2) as the library psimpl does: radial thinning, then Douglas-Peucker.

    Of equally far vertices the last is kept; first and last vertex always stay.
    """
    kept = _thin(points, tolerance)
    if len(kept) < 3:
        return kept
    key = np.zeros(len(kept), np.bool_)
    key[0] = key[-1] = True
    stack = [(0, len(kept) - 1)]
    while len(stack) > 0:
        first, last = stack.pop()
        farthest, where = 0.0, first
        for i in range(first + 1, last):
            distance = _squared_distance(kept, first, last, i)
            if distance >= farthest:
                farthest, where = distance, i
        if farthest > tolerance * tolerance:
            key[where] = True
            stack.append((where, last))
            stack.append((first, where))
    return kept[key]


@compiled
def upsample(points: Points, longest: float) -> Points:
    """Cut each segment of a polyline (n, 2) that is longer than ``longest`` into ceil(length / longest) equal parts."""
    parts = np.ones(len(points), np.int64)
    for i in range(len(points) - 1):
        length = math.hypot(points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1])
        if length > longest:
            parts[i] = math.ceil(length / longest)
    out = np.empty((parts.sum(), 2))
    at = 0
    for i in range(len(points)):
        out[at] = points[i]
        for _ in range(1, parts[i]):
            out[at + 1] = out[at] + (points[i + 1] - points[i]) / parts[i]
            at += 1
        at += 1
    return out


def _foreground_on_right(inside: Binary, loop: Corners) -> bool:
    """Whether the pixel on the right hand of the first step of a loop (n, 2) belongs to the mask."""
    y, x = loop[0]
    dy, dx = loop[1] - loop[0]
    return bool(inside[y - (dy < 0 or dx < 0), x - (dy > 0 or dx < 0)])


def outline(mask: Mask) -> Points | None:
    """Return the outline of a mask that keeps most vertices after simplification, upsampled.

    Loops are simplified on a grid of half pixels, put so that the foreground lies on the right hand, and dropped with
    three vertices or fewer. Of equally long ones the first of :func:`crack_loops` is taken. It may be that of a hole.

    Args:
        mask: (H, W), foreground = any value > 0.

    Returns:
        vertices (n, 2) as (y, x) in pixels, the first one repeated at the end; None when there is no such loop.
    """
    values = binary(mask)
    window = foreground_window(values)
    if window[0].stop == 0:
        return None
    inside = np.pad((values[window] != 0).view(np.uint8), 1)
    longest: Points | None = None
    for loop in crack_loops(inside):
        if len(loop) <= (3 if longest is None else len(longest)):
            continue
        points: Points = np.multiply(loop, 2, dtype=np.float64)
        for tolerance in TOLERANCES:
            points = simplify(points, tolerance)
        if len(points) > (3 if longest is None else len(longest)):
            longest = points if _foreground_on_right(inside, loop) else points[::-1]
    if longest is None:
        return None
    corner = (window[0].start - 1, window[1].start - 1)
    return upsample(np.ascontiguousarray(longest) / 2 + np.array(corner, np.float64), LONGEST_SEGMENT)
