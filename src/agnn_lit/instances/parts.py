"""Proposals from the network alone: connected parts of the foreground, split where node features differ."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.config import InstancesConfig

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]

_POSITIONS = 8  # minimum grid positions of a part that may be split
_ROUNDS = 20  # maximum iterations of 2-means
_COHERENT = 0.7  # minimum share of a cluster's positions in its largest connected component


def find_parts(foreground: Mask, node: Values | None, cfg: InstancesConfig) -> list[Mask]:
    """Divide a foreground (H, W) into its 8-connected components, and split each recursively with :func:`split`.

    Args:
        foreground: (H, W).
        node: features h^0 of the frame (C, h, w); None: nothing is split.
        cfg: ``min_area`` and ``separation``.

    Returns:
        Disjoint masks (H, W), the largest first.
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
    """Split a part (H, W) in two if its features (C, h, w) form two clusters; return None if they do not.

    Clusters come from 2-means, initialised by the sign of the first principal component. They count as two objects if
    their centres are more than ``separation`` times the standard deviation within them apart, and if each cluster is
    mostly connected.
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
    direction = direction * np.sign(direction[np.abs(direction).argmax()])  # the same sign on every machine
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
    # Upsample the difference of the squared distances to the centres; its zero level is the cut.
    flat = node.reshape(len(node), -1).T
    apart = ((flat - centres[0]) ** 2).sum(axis=1) - ((flat - centres[1]) ** 2).sum(axis=1)
    height, width = part.shape
    margin = cv2.resize(apart.reshape(size).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return part & (margin <= 0), part & (margin > 0)
