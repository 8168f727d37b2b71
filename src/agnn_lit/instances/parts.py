"""Proposals that need nothing but the network: connected parts of the foreground, split where their features differ."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.config import InstancesConfig

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]

_POSITIONS = 8  # of the node's grid that a part needs at least to be split
_ROUNDS = 20  # of the clustering
_COHERENT = 0.7  # share of a cluster's positions that must hang together


def find_parts(foreground: Mask, node: Values | None, cfg: InstancesConfig) -> list[Mask]:
    """Divide a foreground (H, W) into parts.

    Connected pixels (of eight neighbours) are one part. Where the node's features within a part form two clusters that
    lie apart, it is cut between them, and again, as long as they do.

    Args:
        foreground: (H, W).
        node: features h^0 of the frame (C, h, w); None: nothing is split.
        cfg: ``min_area`` and ``separation``.

    Returns:
        Masks (H, W) without common pixels, the largest first.
    """
    least = max(1.0, cfg.min_area * foreground.size)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(foreground.view(np.uint8), connectivity=8)
    waiting = [labels == k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= least]
    found: list[Mask] = []
    while waiting:
        part = waiting.pop()
        halves = None if node is None else split(part, node, cfg.separation)
        if halves is None or min(np.count_nonzero(half) for half in halves) < least:
            found.append(part)
        else:
            waiting += halves
    found.sort(key=lambda part: (-int(np.count_nonzero(part)), int(part.argmax())))
    return found


def split(part: Mask, node: Values, separation: float) -> tuple[Mask, Mask] | None:
    """Cut a part (H, W) in two where features (C, h, w) within it form two clusters.

    The clusters are those of 2-means, begun on both sides of the mean along the direction of the largest variance. They
    count as two objects when their centres lie further apart than ``separation`` times the deviation within them, and
    when the positions of each hang together.

    Returns:
        The two sides; None where there is one object.
    """
    size = node.shape[1:]
    share = cv2.resize(part.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    inside = share > 0.5
    if np.count_nonzero(inside) < _POSITIONS:
        return None
    x = node[:, inside].T.astype(np.float64)  # (positions, C)
    centred = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    direction = vectors[:, -1]
    direction = direction * np.sign(direction[np.abs(direction).argmax()])  # a sign that is the same everywhere
    second = centred @ direction > 0
    for _ in range(_ROUNDS):
        if not second.any() or second.all():
            return None
        centres = np.stack([x[~second].mean(axis=0), x[second].mean(axis=0)])
        distances = ((x[:, None] - centres) ** 2).sum(axis=-1)  # (positions, 2)
        nearer = distances[:, 1] < distances[:, 0]
        if (nearer == second).all():
            break
        second = nearer
    within = np.sqrt(distances.min(axis=1).mean())
    if np.linalg.norm(centres[1] - centres[0]) <= separation * within:
        return None
    for side in (second, ~second):
        grid = np.zeros(size, np.uint8)
        grid[inside] = side
        _, _, stats, _ = cv2.connectedComponentsWithStats(grid, connectivity=4)
        if stats[1:, cv2.CC_STAT_AREA].max() < _COHERENT * side.sum():
            return None
    # The cut between positions: where the distances to the two centres are equal, between the grid's points.
    flat = node.reshape(len(node), -1).T
    apart = ((flat - centres[0]) ** 2).sum(axis=1) - ((flat - centres[1]) ** 2).sum(axis=1)
    height, width = part.shape
    margin = cv2.resize(apart.reshape(size).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return part & (margin <= 0), part & (margin > 0)
