"""Reference implementations of the scores in plain NumPy and Python, for tests and benchmarks of the fast code.

They are not used for scoring and share no code with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Binary = NDArray[np.uint8]
Points = NDArray[np.float64]

_TURN = math.pi / 6
_LIMITS = np.logspace(math.log10(1 / 8), math.log10(2), 5)


def plain_boundary(mask: Binary) -> Binary:
    """Boundary map of a mask (H, W) by shifted copies of the whole frame."""
    inside = mask > 0
    right, below, corner = inside.copy(), inside.copy(), inside.copy()
    right[:, :-1] = inside[:, 1:]
    below[:-1] = inside[1:]
    corner[:-1, :-1] = inside[1:, 1:]
    boundary = (inside != right) | (inside != below) | (inside != corner)
    boundary[-1] = inside[-1] != right[-1]
    boundary[:, -1] = inside[:, -1] != below[:, -1]
    boundary[-1, -1] = False
    return np.asarray(boundary, np.uint8)


def plain_scores(prediction: Binary, annotation: Binary, radius: int) -> tuple[float, float]:
    """J and F of masks (H, W) by their definitions, both boundaries dilated with a disk by OpenCV."""
    p, g = prediction > 0, annotation > 0
    union = int((p | g).sum())
    J = int((p & g).sum()) / union if union else 1.0
    reach = np.arange(-radius, radius + 1)
    disk = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.uint8)
    edge_p, edge_g = plain_boundary(prediction), plain_boundary(annotation)
    count_p, count_g = int(edge_p.sum()), int(edge_g.sum())
    if count_p == 0 or count_g == 0:
        return J, float(count_p == count_g)
    precision = int((edge_p * cv2.dilate(edge_g, disk)).sum()) / count_p
    recall = int((edge_g * cv2.dilate(edge_p, disk)).sum()) / count_g
    return J, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _plain_loop(mask: Binary) -> list[tuple[int, int]]:
    """Corners along the longest crack loop of a mask, foreground on the right; no pixels may touch only at a corner."""
    inside = np.pad(mask > 0, 1)
    following: dict[tuple[int, int], tuple[int, int]] = {}
    for y, x in np.argwhere(inside).tolist():
        steps = (
            ((y - 1, x), (y, x), (y, x + 1)),
            ((y, x + 1), (y, x + 1), (y + 1, x + 1)),
            ((y + 1, x), (y + 1, x + 1), (y + 1, x)),
            ((y, x - 1), (y + 1, x), (y, x)),
        )
        following.update({start: end for outside, start, end in steps if not inside[outside]})
    longest: list[tuple[int, int]] = []
    while following:
        start = min(following)
        loop = [start]
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        longest = max(longest, loop, key=len)
    return [(y - 1, x - 1) for y, x in longest]


def _segment_distances(points: Points) -> NDArray[np.float64]:
    """Squared distances of the inner vertices (n, 2) to the segment between the outer ones."""
    along, steps = points[-1] - points[0], points[1:-1] - points[0]
    length = float(along @ along)
    share = (
        np.zeros(len(steps)) if length == 0 else np.clip((steps @ along).astype(np.float32) / np.float32(length), 0, 1)
    )
    return ((steps - share[:, None] * along) ** 2).sum(axis=1)  # type: ignore[no-any-return]


def _plain_simplify(points: Points, tolerance: float) -> Points:
    kept = [points[0]]
    for point in points[1:-1]:
        if ((point - kept[-1]) ** 2).sum() >= tolerance**2:
            kept.append(point)
    line = np.array([*kept, points[-1]])

    def split(first: int, last: int) -> list[int]:
        if last - first < 2:
            return []
        distances = _segment_distances(line[first : last + 1])
        where = len(distances) - 1 - int(distances[::-1].argmax())
        if distances[where] <= tolerance**2:
            return []
        middle = first + 1 + where
        return [*split(first, middle), middle, *split(middle, last)]

    return line[[0, *split(0, len(line) - 1), len(line) - 1]]


def plain_outline(mask: Binary) -> Points:
    """Outline of a mask (H, W) as :func:`~agnn_lit.metrics.stability.polygon.outline`, in Python and NumPy."""
    points = np.array(_plain_loop(mask)[::-1], np.float64) * 2
    for tolerance in (0.1, 3.0):
        points = _plain_simplify(points, tolerance)
    points = points[::-1] / 2
    out = []
    for start, end in pairwise(points):
        parts = max(1, math.ceil(float(np.linalg.norm(end - start)) / 3))
        out.append(start)
        for _ in range(parts - 1):
            out.append(out[-1] + (end - start) / parts)
    return np.array([*out, points[-1]])


def plain_contexts(points: Points) -> NDArray[np.float64]:
    """Shape contexts (n, 60) of a contour (n, 2), in NumPy."""
    y, x = (points[None] - points[:, None]).transpose(2, 0, 1)
    distance = np.sqrt(y**2 + x**2)
    ring = np.searchsorted(_LIMITS, distance / distance.mean(), side="right")
    angle = np.fmod(np.arctan2(x, y) + 2 * math.pi, 2 * math.pi)
    bins = np.floor(angle / _TURN).astype(int) % 12 + 12 * ring
    histograms = [np.bincount(row[row < 60], minlength=60) for row in bins]
    return np.array([row / row.sum() for row in histograms])


def _plain_path(costs: NDArray[np.float64]) -> list[tuple[int, int]]:
    n, m = costs.shape
    values = costs.tolist()
    total = [[0.0] * m for _ in range(n)]
    came: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(n):
        for j in range(m):
            before = [(i + di, j + dj) for di, dj in ((-1, -1), (0, -1), (-1, 0)) if i + di >= 0 and j + dj >= 0]
            if before:
                best = min(before, key=lambda cell: total[cell[0]][cell[1]])
                came[i, j] = best
                total[i][j] = total[best[0]][best[1]] + values[i][j]
    path = [(n - 1, m - 1)]
    while path[-1] in came:
        path.append(came[path[-1]])
    return path


def plain_matching(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Mean cost of the matched vertices of two contours with contexts (n, 60), (m, 60), in NumPy and Python."""
    eps = np.finfo(float).eps
    costs = np.array([0.5 * ((row - second) ** 2 / (row + second + eps)).sum(axis=1) for row in first])
    row, column = min(_plain_path(costs)[:-1], key=lambda cell: costs[cell])
    costs = np.roll(costs, (-row - 1, -column - 1), (0, 1))
    pairs = _plain_path(costs)
    for side in (0, 1):
        best: dict[int, tuple[int, int]] = {}
        for pair in pairs:
            if pair[side] not in best or costs[pair] < costs[best[pair[side]]]:
                best[pair[side]] = pair
        pairs = sorted(best.values())
    return float(np.mean([costs[pair] for pair in pairs]))


def plain_stability(masks: Sequence[Binary]) -> float:
    """T of DAVIS-2016 over masks (H, W) in Python and NumPy; each must have an outline and no two pixels touching
    only at a corner."""
    contexts = [plain_contexts(plain_outline(mask)) for mask in masks]
    return 5 * float(np.mean([plain_matching(a, b) for a, b in pairwise(contexts)]))
