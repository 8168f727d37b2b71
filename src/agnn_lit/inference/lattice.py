"""The permutohedral lattice: Gaussian filtering in five dimensions (Adams, Baek, Davis, Eurographics 2010).

Shapes: P pixels, D features per pixel, M vertices of the lattice.

It stays beside the lattice in pydensecrf, which cannot be called without that package's CRF and filters each label
on its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled

Floats = NDArray[np.float32]
_D = 5
#: The key of a vertex packs its D coordinates, of this many bits each, into 64 bits.
_BITS = 12
_BOUND = 1 << (_BITS - 1)


class Lattice:
    """Filter values of P points with the kernel exp(−½|f_p − f_q|²) of their features.

    The features are embedded in the hyperplane Σx = 0 of R^{D+1}, which the lattice A*_D tiles with simplices. A value
    is distributed to the D+1 vertices of its simplex (splat), blurred with [½ 1 ½] along each of the D+1 directions of
    the lattice, and collected with the same weights (slice).

    Args:
        features: (P, 5), in units of the kernel's standard deviations.

    Raises:
        ValueError: features exceed the lattice's 12-bit coordinates.
    """

    def __init__(self, features: Floats) -> None:
        self.vertices, self._weights, keys, far = _embed(np.ascontiguousarray(features, dtype=np.float32))
        if far:
            raise ValueError(
                f"features reach {float(np.abs(features).max()):.0f} standard deviations: too far for the lattice "
                f"(about {_BOUND // 5}); use a larger sxy or srgb"
            )
        self._neighbours = _find_neighbours(keys)

    def __len__(self) -> int:
        """Return M, the number of vertices."""
        return int(self._neighbours.shape[1])

    def normalise(self) -> None:
        """Replace the filter K by its symmetric normalisation N K N, with N = diag(K 1)^−½."""
        total = self(np.ones(len(self._weights), np.float32))
        self._weights *= (1 / np.sqrt(total + 1e-20))[:, None]

    def __call__(self, values: Floats) -> Floats:
        """Filter values (P,)."""
        filtered: Floats = _filter(values, self.vertices, self._weights, self._neighbours)
        return filtered


@compiled
def _embed(features: Any) -> Any:
    """Find the simplex of each point.

    Returns:
        vertices (P, D+1), their barycentric weights (P, D+1), the keys (M,) of the vertices, and whether a coordinate
        is out of bounds.
    """
    points = features.shape[0]
    corners = _D + 1
    # Rows of the embedding are orthogonal; the blur has a variance of 2/3 (D+1)² in lattice units.
    scale = np.empty(_D, np.float32)
    for i in range(_D):
        scale[i] = math.sqrt(2.0 / 3.0) * corners / math.sqrt((i + 1.0) * (i + 2.0))
    vertices = np.empty((points, corners), np.int32)
    weights = np.empty((points, corners), np.float32)
    capacity = 1 << 16
    slots = np.full(capacity, -1, np.int32)
    keys = np.empty(capacity // 2, np.int64)
    count = 0
    far = False
    place = np.empty(corners, np.float32)  # the embedded point, Σ = 0
    zero = np.empty(corners, np.int64)  # nearest vertex whose coordinates are multiples of D+1
    rank = np.empty(corners, np.int64)  # rank of the remainders, largest first
    share = np.empty(corners + 1, np.float32)
    for p in range(points):
        tail = np.float32(0)
        for j in range(_D, 0, -1):
            part = features[p, j - 1] * scale[j - 1]
            place[j] = tail - j * part
            tail += part
        place[0] = tail
        excess = 0
        for i in range(corners):
            whole = math.floor(place[i] / corners + np.float32(0.5))
            zero[i] = whole * corners
            excess += whole
        for i in range(corners):
            rank[i] = excess
        for i in range(_D):
            rest = place[i] - zero[i]
            for j in range(i + 1, corners):
                below = rest < place[j] - zero[j]
                rank[i] += below
                rank[j] += not below
        # A rounded place with Σ ≠ 0 lies off the plane: the coordinates rounded furthest go back one step.
        for i in range(corners):
            if rank[i] < 0:
                rank[i] += corners
                zero[i] += corners
            elif rank[i] > _D:
                rank[i] -= corners
                zero[i] -= corners
        share[:] = 0
        for i in range(corners):
            rest = (place[i] - zero[i]) / corners
            share[_D - rank[i]] += rest
            share[corners - rank[i]] -= rest
        share[0] += 1 + share[corners]
        for corner in range(corners):
            # Corner k of a simplex: its zero corner plus k, less D+1 where that passes the point.
            key = np.int64(0)
            for i in range(_D):
                coordinate = zero[i] + corner - (corners if rank[i] > _D - corner else 0)
                far |= coordinate >= _BOUND - 1 or coordinate <= 1 - _BOUND
                key = (key << _BITS) | (coordinate & ((1 << _BITS) - 1))
            slot = _slot(key, slots, keys)
            if slots[slot] < 0:
                if count == keys.size:
                    slots = _table(keys, 4 * count)
                    keys = np.concatenate((keys, np.empty_like(keys)))
                    slot = _slot(key, slots, keys)
                slots[slot] = count
                keys[count] = key
                count += 1
            vertices[p, corner] = slots[slot]
            weights[p, corner] = share[corner]
    return vertices, weights, keys[:count].copy(), far


@compiled
def _slot(key: Any, slots: Any, keys: Any) -> Any:
    """Return the slot of the hash table that holds a key, or the empty one where it belongs."""
    mixed = key * np.int64(-7046029254386353131)
    slot = (mixed ^ (mixed >> 32)) & (slots.size - 1)
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & (slots.size - 1)
    return slot


@compiled
def _table(keys: Any, capacity: int) -> Any:
    """Return a hash table of keys, all of them different: the index of each in its slot, −1 in empty ones."""
    slots = np.full(capacity, -1, np.int32)
    for k in range(keys.size):
        slots[_slot(keys[k], slots, keys)] = k
    return slots


@compiled
def _find_neighbours(keys: Any) -> Any:
    """Return the neighbours of each vertex along the D+1 directions, (D+1, M, 2); M if there is none."""
    count = keys.size
    capacity = 4
    while capacity < 2 * count:
        capacity *= 2
    slots = _table(keys, capacity)
    found = np.empty((_D + 1, count, 2), np.int32)
    mask = (1 << _BITS) - 1
    for direction in range(_D + 1):
        for k in range(count):
            for side in range(2):
                step = 1 - 2 * side  # direction d lies along (1, …, 1) − (D+1) e_d
                key = np.int64(0)
                for i in range(_D):
                    coordinate = (keys[k] >> (_BITS * (_D - 1 - i))) & mask
                    coordinate += step * (-_D if i == direction else 1)
                    key = (key << _BITS) | (coordinate & mask)
                slot = slots[_slot(key, slots, keys)]
                found[direction, k, side] = slot if slot >= 0 else count
    return found


@compiled
def _filter(values: Any, vertices: Any, weights: Any, neighbours: Any) -> Any:
    points, corners = vertices.shape
    count = neighbours.shape[1]
    now = np.zeros(count + 1, np.float32)  # the last entry stands for missing vertices
    then = np.zeros(count + 1, np.float32)
    for p in range(points):
        value = values[p]
        for k in range(corners):
            now[vertices[p, k]] += weights[p, k] * value
    for direction in range(corners):
        for k in range(count):
            sides = now[neighbours[direction, k, 0]] + now[neighbours[direction, k, 1]]
            then[k] = now[k] + np.float32(0.5) * sides
        now, then = then, now
    out = np.empty(points, np.float32)
    for p in range(points):
        total = np.float32(0)
        for k in range(corners):
            total += weights[p, k] * now[vertices[p, k]]
        out[p] = total
    return out
