"""F, the boundary score: how well the outlines of two masks agree within a tolerance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled
from agnn_lit.metrics.region import Binary, Mask, binary, check_shapes, foreground_window

#: Tolerance of the DAVIS protocols as a share of the image diagonal.
DAVIS_TOLERANCE = 0.008


def davis_radius(height: int, width: int) -> int:
    """Tolerance in pixels of the DAVIS protocols: ceil(0.008 · diagonal), 8 at 854×480."""
    return math.ceil(DAVIS_TOLERANCE * math.hypot(height, width))


def boundary_map(mask: Mask) -> NDArray[np.bool_]:
    """Pixels of a mask (H, W) that differ from their right, lower or lower-right neighbour.

    The last column compares only downwards, the last row only rightwards, the lower right corner is never set.
    """
    inside = binary(mask) != 0
    out = np.zeros(inside.shape, np.bool_)
    _mark_boundary(inside.view(np.uint8), out)
    return out


@compiled
def _mark_boundary(inside: Binary, out: NDArray[np.bool_]) -> int:
    """Fill ``out`` (H, W, zeros) with the boundary map of ``inside`` (0 or 1) and return the number of pixels set."""
    height, width = inside.shape
    count = 0
    for y in range(height):
        below = y + 1 if y + 1 < height else y
        for x in range(width - 1):
            here = inside[y, x]
            edge = (here != inside[y, x + 1]) | (here != inside[below, x]) | (here != inside[below, x + 1])
            out[y, x] = edge
            count += edge
        if inside[y, width - 1] != inside[below, width - 1]:
            out[y, width - 1] = True
            count += 1
    return count


@compiled
def _distance_in_row(marked: NDArray[np.bool_], limit: int, out: NDArray[np.int32]) -> None:
    """Distance of each pixel (H, W) to the nearest marked pixel of its row, ``limit`` where none is nearer."""
    height, width = marked.shape
    for y in range(height):
        nearest = limit
        for x in range(width):
            nearest = 0 if marked[y, x] else min(nearest + 1, limit)
            out[y, x] = nearest
        for x in range(width - 2, -1, -1):
            out[y, x] = min(out[y, x], out[y, x + 1] + 1)


@compiled
def _count_near(marked: NDArray[np.bool_], distance: NDArray[np.int32], reach: NDArray[np.int32], radius: int) -> int:
    """Number of marked pixels (H, W) with a pixel of row distance zero inside the disk of this radius.

    ``reach[d]`` is the half width of the disk d rows from its centre.
    """
    height, width = marked.shape
    count = 0
    for y in range(height):
        for x in range(width):
            if not marked[y, x]:
                continue
            for step in range(radius + 1):
                up, down, far = y - step, y + step, reach[step]
                if (up >= 0 and distance[up, x] <= far) or (down < height and distance[down, x] <= far):
                    count += 1
                    break
    return count


@compiled
def _agreement(p: Binary, g: Binary, radius: int) -> float:
    """F of two masks (H, W) of zeros and ones."""
    boundary_p, boundary_g = np.zeros(p.shape, np.bool_), np.zeros(g.shape, np.bool_)
    count_p, count_g = _mark_boundary(p, boundary_p), _mark_boundary(g, boundary_g)
    if count_p == 0 or count_g == 0:
        return 1.0 if count_p == count_g else 0.0
    reach = np.empty(radius + 1, np.int32)
    for step in range(radius + 1):
        half = radius
        while half * half + step * step > radius * radius:
            half -= 1
        reach[step] = half
    distance = np.empty(p.shape, np.int32)
    _distance_in_row(boundary_g, radius + 1, distance)
    precision = _count_near(boundary_p, distance, reach, radius) / count_p
    _distance_in_row(boundary_p, radius + 1, distance)
    recall = _count_near(boundary_g, distance, reach, radius) / count_g
    if precision + recall == 0.0:
        return 0.0
    return 2.0 * precision * recall / (precision + recall)


def boundary_f(prediction: Mask, annotation: Mask, radius: int, void: Mask | None = None) -> float:
    """Boundary accuracy F = 2PR / (P + R).

    P is the share of the predicted boundary within ``radius`` of the annotated one, R the other way round; within
    means inside a disk x² + y² ≤ radius². Both boundaries empty give 1, one of them empty gives 0.

    Args:
        prediction: mask (H, W), foreground = any value > 0.
        annotation: mask (H, W), likewise.
        radius: tolerance in pixels.
        void: pixels (H, W), > 0, taken out of both masks first; none by default.

    Raises:
        ValueError: the masks differ in size or are not two-dimensional, or the radius is negative.
    """
    check_shapes(prediction, annotation, void)
    if radius < 0:
        raise ValueError(f"radius={radius}: must be 0 or more pixels")
    p, g = binary(prediction), binary(annotation)
    window = foreground_window(p, g)
    inside_p, inside_g = p[window] != 0, g[window] != 0
    if inside_p.size == 0:
        return 1.0
    if void is not None:
        kept = void[window] == 0
        inside_p, inside_g = inside_p & kept, inside_g & kept
    return float(_agreement(inside_p.view(np.uint8), inside_g.view(np.uint8), radius))
