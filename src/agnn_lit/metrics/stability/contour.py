"""Closed outlines of a mask along the cracks between its pixels, corner by corner.

Directions are numbered 0 right, 1 down, 2 left, 3 up; corner (y, x) is the upper left one of pixel (y, x). A
junction is a corner where four cracks meet, between two pixels that touch only there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled
from agnn_lit.metrics.region import Binary

Corners = NDArray[np.int32]
Junction = tuple[int, int]

_JUNCTION = 16
#: Sizes of libstdc++'s hash tables, up to more junctions and loops than any mask of the benchmark has.
_TABLE_SIZES = frozenset(
    [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 103, 109, 113, 127,
     137, 139, 149, 157, 167, 179, 193, 199, 211, 227, 241, 257, 277, 293, 313, 337, 359, 383, 409, 439, 467, 503, 541,
     577, 619, 661, 709, 761, 823, 887, 953, 1031, 1109, 1193, 1289, 1381, 1493, 1613, 1741, 1879, 2029, 2179, 2357,
     2549, 2753, 2971, 3209, 3469, 3739, 4027]
)  # fmt: skip


@compiled
def _cracks(inside: Binary) -> NDArray[np.uint8]:
    """Mark the directions in which cracks leave each corner.

    Args:
        inside: mask (H, W) of zeros and ones with a border of zeros.

    Returns:
        bits (H+1, W+1): bit d set for a crack in direction d, bit 4 at junctions.
    """
    height, width = inside.shape
    bits = np.zeros((height + 1, width + 1), np.uint8)
    for y in range(1, height):
        for x in range(1, width):
            if inside[y, x] != inside[y, x - 1]:
                bits[y, x] |= 2
                bits[y + 1, x] |= 8
            if inside[y, x] != inside[y - 1, x]:
                bits[y, x] |= 1
                bits[y, x + 1] |= 4
    for y in range(1, height):
        for x in range(1, width):
            if bits[y, x] == 15:
                bits[y, x] |= _JUNCTION
    return bits


@compiled
def _follow(bits: NDArray[np.uint8], y: int, x: int, direction: int, corners: Corners, at: int) -> tuple[int, int]:
    """Follow the cracks from a corner to a junction or back to it, using them up.

    The corners on the way, both ends included, are written to ``corners[at:]``.

    Returns:
        where the next corner would be written, and the direction of the last step.
    """
    first_y, first_x = y, x
    corners[at, 0], corners[at, 1] = y, x
    while True:
        bits[y, x] &= 255 - (1 << direction)
        y += (direction == 1) - (direction == 3)
        x += (direction == 0) - (direction == 2)
        bits[y, x] &= 255 - (1 << (direction + 2) % 4)
        at += 1
        corners[at, 0], corners[at, 1] = y, x
        if bits[y, x] & _JUNCTION or (y == first_y and x == first_x):
            return at + 1, direction
        direction = 0
        while not bits[y, x] & (1 << direction):
            direction += 1


@compiled
def _cut(bits: NDArray[np.uint8]) -> tuple[Corners, NDArray[np.int32], int]:
    """Cut the cracks into pieces from junction to junction and loops without junctions; uses ``bits`` up.

    Pieces are numbered from the lowest junction up, and around each from direction 3 to 0; loops follow from their
    topmost, then leftmost corner, downwards first.

    Returns:
        corners of all pieces (c, 2); a row for each piece (p, 3): end of its corners, first and last direction; and
        the number of pieces that are no loops.
    """
    height, width = bits.shape
    cracks = 0
    for y in range(height):
        for x in range(width):
            cracks += int(bits[y, x] & 1) + int(bits[y, x] >> 1 & 1)  # 8 bits would overflow in plain Python
    corners = np.empty((2 * cracks, 2), np.int32)
    pieces = np.empty((cracks, 3), np.int32)
    at = count = 0
    for y in range(height - 1, -1, -1):
        for x in range(width - 1, -1, -1):
            if bits[y, x] & _JUNCTION:
                for direction in range(3, -1, -1):
                    if bits[y, x] >> direction & 1:
                        at, last = _follow(bits, y, x, direction, corners, at)
                        pieces[count, 0], pieces[count, 1], pieces[count, 2] = at, direction, last
                        count += 1
    between = count
    for y in range(height):
        for x in range(width):
            if bits[y, x] & 2:
                at, last = _follow(bits, y, x, 1, corners, at)
                pieces[count, 0], pieces[count, 1], pieces[count, 2] = at, 1, last
                count += 1
    return corners[:at], pieces[:count], between


class _Way(NamedTuple):
    """Cracks from one junction to another, as they are walked from here.

    Attributes:
        corners: in the order of the walk (n, 2).
        direction: of the first crack.
        end: the other junction.
    """

    corners: Corners
    direction: int
    end: Junction


def _ways(corners: Corners, first: int, last: int) -> dict[Junction, _Way]:
    """Return both ways along a piece (n, 2), each by its beginning; ``first`` and ``last`` are its directions."""
    (start_y, start_x), (end_y, end_x) = corners[[0, -1]].tolist()
    start, end = (start_y, start_x), (end_y, end_x)
    # A piece that ends where it starts is walked forwards.
    return {end: _Way(corners[::-1], (last + 2) % 4, start), start: _Way(corners, first, end)}


class _Network:
    """Joins the pieces between junctions to loops that turn at each junction and pass none twice."""

    def __init__(self, pieces: list[dict[Junction, _Way]]) -> None:
        self.pieces = pieces
        self.free: dict[Junction, set[int]] = {}
        for number, piece in enumerate(pieces):
            for junction in piece:
                self.free.setdefault(junction, set()).add(number)
        self.walk: list[tuple[Junction, int]] = []
        self.loops: list[Corners] = []

    def join(self, order: Iterable[Junction]) -> list[Corners]:
        """Return all loops (n, 2), first corner repeated at the end; walks start from junctions in this order."""
        for junction in order:
            while self.free[junction]:
                here = self._step(junction, min(self.free[junction]))
                while self.walk:
                    here = self._step(here, self._turn(here))
        return self.loops

    def _turn(self, junction: Junction) -> int:
        """Choose the first free piece at a junction that does not go straight on."""
        came = self.pieces[self.walk[-1][1]][junction].direction
        choices = sorted(self.free[junction])
        turning = [n for n in choices if (self.pieces[n][junction].direction - came) % 2]
        return (turning or choices)[0]

    def _step(self, junction: Junction, number: int) -> Junction:
        """Walk along a piece, closing a loop when its other end was passed before; return that end."""
        end = self.pieces[number][junction].end
        self.free[junction].discard(number)
        self.free[end].discard(number)
        self.walk.append((junction, number))
        passed = [at for at, _ in self.walk]
        if end in passed:
            cut = passed.index(end)
            parts = [self.pieces[n][at].corners[:-1] for at, n in self.walk[cut:]]
            self.loops.append(np.concatenate([*parts, parts[0][:1]]))
            del self.walk[cut:]
        return end


def crack_loops(inside: Binary) -> list[Corners]:
    """Return the outlines of a mask as loops of corners.

    Where four cracks meet the outline turns, never crosses, and no loop passes a corner twice. Loops without such a
    corner start at their topmost, then leftmost corner and go down first.

    The order of the loops decides between equally long ones. It is that of the official code, which iterates over a
    hash table of the junctions and the starts of the loops without one, both from top to bottom: from the last to the
    first; but if they just fill the table (their number is one of libstdc++'s sizes), the last comes first and the
    others follow from the first on, since the table grew, and turned round, before the last one was added. (Older
    versions of libstdc++ grow it there; that of GCC 12 no longer does.)

    Args:
        inside: mask (H, W) of zeros and ones with a border of zeros.

    Returns:
        loops (n, 2) of corners (y, x), the first one repeated at the end.
    """
    corners, table, between = _cut(_cracks(inside))
    parts = np.split(corners, table[:-1, 0])
    pieces = [_ways(part, a, b) for part, (_, a, b) in zip(parts[:between], table[:between].tolist(), strict=True)]
    network, loops = _Network(pieces), parts[between:]
    junctions = sorted(network.free)
    if len(junctions) + len(loops) not in _TABLE_SIZES:
        return [*reversed(loops), *network.join(reversed(junctions))]
    if loops:
        return [loops[-1], *network.join(junctions), *loops[:-1]]
    return network.join([*junctions[-1:], *junctions[:-1]])
