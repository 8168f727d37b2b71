"""The longest outline of a mask as a polygon, in the way of DAVIS-2016's temporal stability.

The outline runs along the cracks between pixels, from corner to corner. Directions are numbered 0 right, 1 down, 2 left, 3 up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.compiled import compiled
from agnn_lit.metrics.region import Binary, Mask, binary, foreground_window

Corners = NDArray[np.int32]
Points = NDArray[np.float64]

#: Tolerances of the simplification, in half pixels: straight lines first, then the real one.
TOLERANCES = (0.1, 3.0)
#: Longest segment after upsampling, in pixels.
LONGEST_SEGMENT = 3.0


@compiled
def _cracks(inside: Binary) -> NDArray[np.uint8]:
    """Which of the four cracks leave each corner, as bits.

    Args:
        inside: mask (H, W) of zeros and ones with a border of zeros.

    Returns:
        bits (H+1, W+1); corner (y, x) is the upper left one of pixel (y, x).
    """
    height, width = inside.shape
    bits = np.zeros((height + 1, width + 1), np.uint8)
    for y in range(height):
        for x in range(1, width):
            if inside[y, x] != inside[y, x - 1]:
                bits[y, x] |= 2
                bits[y + 1, x] |= 8
    for y in range(1, height):
        for x in range(width):
            if inside[y, x] != inside[y - 1, x]:
                bits[y, x] |= 1
                bits[y, x + 1] |= 4
    return bits


@compiled
def _trace(bits, y, x, direction, corners, at):
    """Follow cracks from a corner until a junction or the start, using them up; return where the list ends and
    the last direction. ``corners`` gets the corners from the start to the end, both included."""
    corners[at, 0], corners[at, 1] = y, x
    start_y, start_x = y, x
    at += 1
    while True:
        bits[y, x] &= ~(1 << direction) & 0xFF
        if direction == 0:
            x += 1
        elif direction == 1:
            y += 1
        elif direction == 2:
            x -= 1
        else:
            y -= 1
        bits[y, x] &= ~(1 << ((direction + 2) % 4)) & 0xFF
        corners[at, 0], corners[at, 1] = y, x
        at += 1
        if (bits[y, x] & 16) or (y == start_y and x == start_x):
            return at, direction
        direction = 0
        while not bits[y, x] & (1 << direction):
            direction += 1


@compiled
def _pieces(bits):
    """Cut the cracks into pieces: from junction to junction, and loops without any.

    returns corners, offsets, starts, ends...
    """
    height, width = bits.shape
    total = 0
    njunctions = 0
    for y in range(height):
        for x in range(width):
            b = bits[y, x]
            total += (b & 1) + ((b >> 1) & 1)
            if b == 15:
                njunctions += 1
                bits[y, x] = 31
    junctions = np.empty((njunctions, 2), np.int32)
    n = 0
    for y in range(height):
        for x in range(width):
            if bits[y, x] == 31:
                junctions[n, 0], junctions[n, 1] = y, x
                n += 1
    corners = np.empty((2 * total + 1, 2), np.int32)
    info = np.empty((total + 1, 3), np.int32)  # end offset, first direction, last direction
    at, count = 0, 0
    for j in range(njunctions - 1, -1, -1):
        y, x = junctions[j]
        for direction in range(3, -1, -1):
            if bits[y, x] & (1 << direction):
                at, last = _trace(bits, y, x, direction, corners, at)
                info[count, 0], info[count, 1], info[count, 2] = at, direction, last
                count += 1
    between = count
    for y in range(height):
        for x in range(width):
            if bits[y, x] & 2:
                at, last = _trace(bits, y, x, 1, corners, at)
                info[count, 0], info[count, 1], info[count, 2] = at, 1, last
                count += 1
    return corners[:at], info[:count], between


def _join(pieces, firsts, lasts):
    """Join pieces between junctions to loops that turn at each junction and pass none twice."""
    ends = [(tuple(p[0]), tuple(p[-1])) for p in pieces]
    out = [(f, (l + 2) % 4) for f, l in zip(firsts, lasts)]
    todo = {}
    for number, (a, b) in enumerate(ends):
        for j in (a, b):
            todo.setdefault(j, set()).add(number)
    loops = []

    def other(piece, junction):
        a, b = ends[piece]
        return b if a == junction else a

    def leaves(piece, junction):
        return out[piece][0] if ends[piece][0] == junction else out[piece][1]

    def use(piece):
        for j in set(ends[piece]):
            todo[j].discard(piece)

    def close(walk, junction):
        cut = next(i for i, (j, _) in enumerate(walk) if j == junction)
        parts = []
        for j, piece in walk[cut:]:
            p = pieces[piece]
            parts.append((p if ends[piece][0] == j else p[::-1])[:-1])
        loops.append(np.concatenate([*parts, parts[0][:1]]))
        del walk[cut:]

    for junction in sorted(todo, reverse=True):
        while todo[junction]:
            piece = min(todo[junction])
            use(piece)
            walk = [(junction, piece)]
            here = other(piece, junction)
            if any(j == here for j, _ in walk):
                close(walk, here)
                piece = walk[-1][1] if walk else -1
            while walk:
                choices = sorted(todo[here])
                a = leaves(piece, here)
                pick = choices[0]
                if (leaves(pick, here) - a) % 2 == 0 and len(choices) > 1:
                    pick = choices[1]
                piece = pick
                use(piece)
                walk.append((here, piece))
                here = other(piece, here)
                if any(j == here for j, _ in walk):
                    close(walk, here)
                    piece = walk[-1][1] if walk else -1
    return loops


@compiled
def _simplify(points, tolerance):
    n = len(points)
    if n < 3:
        return points
    limit = tolerance * tolerance
    kept = np.empty_like(points)
    kept[0] = points[0]
    count = 1
    for i in range(1, n - 1):
        dy, dx = kept[count - 1, 0] - points[i, 0], kept[count - 1, 1] - points[i, 1]
        if dy * dy + dx * dx >= limit:
            kept[count] = points[i]
            count += 1
    kept[count] = points[n - 1]
    count += 1
    key = np.zeros(count, np.bool_)
    key[0] = key[count - 1] = True
    stack = [(0, count - 1)]
    while len(stack) > 0:
        first, last = stack.pop()
        best, where = 0.0, 0
        vy, vx = kept[last, 0] - kept[first, 0], kept[last, 1] - kept[first, 1]
        cv = vy * vy + vx * vx
        for i in range(first + 1, last):
            wy, wx = kept[i, 0] - kept[first, 0], kept[i, 1] - kept[first, 1]
            cw = wy * vy + wx * vx
            if cw <= 0:
                d = wy * wy + wx * wx
            elif cv <= cw:
                dy, dx = kept[i, 0] - kept[last, 0], kept[i, 1] - kept[last, 1]
                d = dy * dy + dx * dx
            else:
                share = np.float64(np.float32(cw) / np.float32(cv))
                dy, dx = wy - share * vy, wx - share * vx
                d = dy * dy + dx * dx
            if d >= best:
                best, where = d, i
        if where and limit < best:
            key[where] = True
            stack.append((where, last))
            stack.append((first, where))
    return kept[:count][key]


@compiled
def _upsample(points, longest):
    n = len(points)
    total = n
    for i in range(n - 1):
        dy, dx = points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1]
        total += max(0, int(np.ceil(np.sqrt(dy * dy + dx * dx) / longest)) - 1)
    out = np.empty((total, 2))
    at = 0
    for i in range(n):
        out[at] = points[i]
        at += 1
        if i == n - 1:
            break
        dy, dx = points[i + 1, 0] - points[i, 0], points[i + 1, 1] - points[i, 1]
        length = np.sqrt(dy * dy + dx * dx)
        if length > longest:
            parts = int(np.ceil(length / longest))
            for _ in range(parts - 1):
                out[at, 0] = out[at - 1, 0] + dy / parts
                out[at, 1] = out[at - 1, 1] + dx / parts
                at += 1
    return out[:at]


def loops_of(mask):
    m = binary(mask)
    window = foreground_window(m, m)
    inside = np.pad((m[window] != 0).view(np.uint8), 1)
    corners, info, between = _pieces(_cracks(inside))
    pieces = np.split(corners, info[:-1, 0])
    loops = _join(pieces[:between], info[:between, 1], info[:between, 2]) if between else []
    return inside, pieces[between:][::-1] + loops


def polygons(mask, tolerances=TOLERANCES):
    if not np.any(mask):
        return []
    inside, loops = loops_of(mask)
    result = []
    for loop in loops:
        (y, x), (y1, x1) = loop[0], loop[1]
        # pixel to the right of the first step
        if y1 > y: px = (y, x - 1)
        elif y1 < y: px = (y1, x)
        elif x1 > x: px = (y, x)
        else: px = (y - 1, x1)
        pts = 2.0 * loop
        for tol in tolerances:
            pts = _simplify(pts, tol)
        if not inside[px]:
            pts = pts[::-1]
        if len(pts) > 3:
            result.append(pts / 2)
    return result


def longest_contour(mask, last=False):
    polys = polygons(mask)
    if not polys: return None
    if last: polys = polys[::-1]
    return _upsample(np.ascontiguousarray(max(polys, key=len)), LONGEST_SEGMENT)
