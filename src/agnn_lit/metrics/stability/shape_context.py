"""Shape contexts of a contour, and the cost of matching two contours by them (Belongie, Malik, Puzicha 2002)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled

Points = NDArray[np.float64]
Histograms = NDArray[np.float64]
Costs = NDArray[np.float64]
Path = NDArray[np.int64]

ANGLES = 12
#: Upper limits of the radius bins, in mean distances.
RADII = np.logspace(np.log10(1 / 8), np.log10(2), 5)

_SECTOR = 2 * math.pi / ANGLES
_TAN_30, _TAN_60 = math.tan(math.pi / 6), math.tan(math.pi / 3)
_CLOSE = 1e-9


@compiled
def _angle_bin(dy: float, dx: float) -> int:
    """Angle bin of a direction, counted from the y axis towards the x axis.

    By comparisons; within rounding of a limit between bins, by the angle itself as the official code computes it.
    """
    a, b = abs(dy), abs(dx)
    margin = _CLOSE * (a + b)
    if a <= margin or b <= margin or abs(b - _TAN_30 * a) <= margin or abs(b - _TAN_60 * a) <= margin:
        angle = math.atan2(dx, dy) + 2 * math.pi
        return int((angle - 2 * math.pi if angle >= 2 * math.pi else angle) / _SECTOR) % ANGLES
    sector = int(b > _TAN_30 * a) + int(b > _TAN_60 * a)
    if dx > 0:
        return sector if dy > 0 else 5 - sector
    return 6 + sector if dy < 0 else 11 - sector


@compiled
def _distance(points: Points, i: int, j: int) -> float:
    """Distance between two vertices of a contour (n, 2)."""
    return math.sqrt((points[i, 0] - points[j, 0]) ** 2 + (points[i, 1] - points[j, 1]) ** 2)


@compiled
def shape_contexts(points: Points) -> Histograms:
    """Histogram of where the other vertices of a contour lie, for each of its n vertices (n, 2).

    12 angle bins of absolute directions times 5 radius bins with limits at 1/8 to 2 mean distances, spaced evenly
    in the logarithm; the mean is that of the whole distance matrix, and a vertex counts itself.

    Returns:
        histograms (n, 60), each with sum 1.
    """
    n = len(points)
    total = 0.0
    for i in range(n):
        for j in range(i):
            total += _distance(points, i, j)
    limits = RADII * (2 * total / (n * n))
    out = np.zeros((n, len(RADII) * ANGLES))
    for i in range(n):
        for j in range(i + 1):
            distance = _distance(points, i, j)
            if distance >= limits[-1]:
                continue
            ring = 0
            while distance >= limits[ring]:
                ring += 1
            y, x = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            out[i, ring * ANGLES + _angle_bin(y, x)] += 1
            if j < i:
                y, x = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
                out[j, ring * ANGLES + _angle_bin(y, x)] += 1
    for i in range(n):
        out[i] /= out[i].sum()
    return out


@compiled
def context_costs(first: Histograms, second: Histograms) -> Costs:
    """Cost ½ Σ (a − b)² / (a + b) of each pair of histograms (n, 60) and (m, 60), as (n, m)."""
    columns = second.T.copy()
    costs = np.zeros((len(first), len(second)))
    for i in range(len(first)):
        row = costs[i]
        for k in range(first.shape[1]):
            a, b = first[i, k], columns[k]
            if a == 0.0:
                row += b
            else:
                for j in range(len(row)):
                    row[j] += (a - b[j]) * (a - b[j]) / (a + b[j])
        row *= 0.5
    return costs


@compiled
def cheapest_path(costs: Costs) -> Path:
    """Cheapest monotone path through a cost matrix (n, m), from its last cell to its first.

    Steps go right, down or both; the first cell is free. Of equally cheap ones the diagonal step is taken.

    Returns:
        cells (p, 2) as row and column.
    """
    n, m = costs.shape
    sums = np.empty(m)
    step = np.zeros((n, m), np.uint8)  # 1 from the left, 2 from above, 3 from both
    for i in range(n):
        corner = 0.0
        for j in range(m):
            above = sums[j]
            best, came = np.inf, 0
            if i > 0 and j > 0:
                best, came = corner, 3
            if j > 0 and sums[j - 1] < best:
                best, came = sums[j - 1], 1
            if i > 0 and above < best:
                best, came = above, 2
            sums[j] = best + costs[i, j] if came else 0.0
            step[i, j] = came
            corner = above
    path = np.empty((n + m, 2), np.int64)
    i, j, length = n - 1, m - 1, 0
    while True:
        path[length, 0], path[length, 1] = i, j
        length += 1
        came = step[i, j]
        if came == 0:
            return path[:length]
        i -= came >> 1
        j -= came & 1


@compiled
def _rotated(costs: Costs, path: Path) -> Costs:
    """Rotate both contours so that the cheapest cell of a path, the free one left out, comes last."""
    n, m = costs.shape
    row, column = n - 1, m - 1
    for k in range(len(path) - 1):
        if costs[path[k, 0], path[k, 1]] < costs[row, column]:
            row, column = path[k]
    out = np.empty_like(costs)
    for i in range(n):
        source = costs[(i + row + 1) % n]
        out[i, : m - column - 1] = source[column + 1 :]
        out[i, m - column - 1 :] = source[: column + 1]
    return out


@compiled
def matching_cost(first: Histograms, second: Histograms) -> float:
    """Mean cost of the matched vertices of two contours with shape contexts (n, 60) and (m, 60).

    The cheapest path through the costs is found, both contours are rotated so that its cheapest pair comes last, and
    the path is found again; then each vertex of either side keeps only its cheapest partner.
    """
    costs = context_costs(first, second)
    costs = _rotated(costs, cheapest_path(costs))
    path = cheapest_path(costs)
    n, m = costs.shape
    partner, back = np.full(n, -1), np.full(m, -1)
    for k in range(len(path)):
        i, j = path[k]
        if partner[i] < 0 or costs[i, j] < costs[i, partner[i]]:
            partner[i] = j
    for i in range(n):
        j = partner[i]
        if back[j] < 0 or costs[i, j] < costs[back[j], j]:
            back[j] = i
    total, pairs = 0.0, 0
    for j in range(m):
        if back[j] >= 0:
            total += costs[back[j], j]
            pairs += 1
    return total / pairs
