import numpy as np
from agnn_lit.metrics.compiled import compiled

ANGLES, RADII = 12, 5
EDGES = np.logspace(np.log10(1 / 8), np.log10(2), RADII)


@compiled
def _histograms(points, edges, swap):
    n = len(points)
    mean = 0.0
    for i in range(n):
        for j in range(n):
            mean += np.sqrt((points[i, 0] - points[j, 0]) ** 2 + (points[i, 1] - points[j, 1]) ** 2)
    mean /= n * n
    out = np.zeros((n, 60))
    for i in range(n):
        count = 0
        for j in range(n):
            d0, d1 = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            r = np.sqrt(d0 * d0 + d1 * d1) / mean
            q = -1
            for e in range(len(edges)):
                if r < edges[e]:
                    q += 1
            if q < 0:
                continue
            a = np.arctan2(d0, d1) if swap else np.arctan2(d1, d0)
            a = np.fmod(np.fmod(a, 2 * np.pi) + 2 * np.pi, 2 * np.pi)
            t = int(np.floor(a / (2 * np.pi / 12)))
            out[i, q * 12 + t] += 1
            count += 1
        for b in range(60):
            out[i, b] /= count
    return out


@compiled
def _costs(a, b):
    n, m = len(a), len(b)
    out = np.empty((n, m))
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(a.shape[1]):
                d = a[i, k] - b[j, k]
                s += d * d / (a[i, k] + b[j, k] + 2.220446049250313e-16)
            out[i, j] = 0.5 * s
    return out


@compiled
def _path(costs, sy, sx):
    """cheapest path through costs rotated by (sy, sx)"""
    n, m = costs.shape
    d = np.empty((n, m))
    back = np.zeros((n, m), np.uint8)
    for i in range(n):
        for j in range(m):
            if i == 0 and j == 0:
                d[0, 0] = 0
                continue
            best, w = np.inf, 0
            if i > 0 and j > 0:
                best, w = d[i - 1, j - 1], 3
            if j > 0 and d[i, j - 1] < best:
                best, w = d[i, j - 1], 1
            if i > 0 and d[i - 1, j] < best:
                best, w = d[i - 1, j], 2
            d[i, j] = best + costs[(i + sy) % n, (j + sx) % m]
            back[i, j] = w
    path = np.empty((n + m, 2), np.int64)
    k = 0
    i, j = n - 1, m - 1
    while True:
        path[k, 0], path[k, 1] = (i + sy) % n, (j + sx) % m
        k += 1
        w = back[i, j]
        if w == 0:
            break
        if w != 1:
            i -= 1
        if w != 2:
            j -= 1
    return path[:k]


@compiled
def match(a, b):
    costs = _costs(a, b)
    n, m = costs.shape
    path = _path(costs, 0, 0)
    best, y, x = np.inf, n - 1, m - 1
    for k in range(len(path) - 1):
        c = costs[path[k, 0], path[k, 1]]
        if c < best:
            best, y, x = c, path[k, 0], path[k, 1]
    path = _path(costs, y + 1, x + 1)
    rows = np.full(n, -1)
    for k in range(len(path)):
        i, j = path[k]
        if rows[i] < 0 or costs[i, j] < costs[i, rows[i]]:
            rows[i] = j
    cols = np.full(m, -1)
    for i in range(n):
        j = rows[i]
        if cols[j] < 0 or costs[i, j] < costs[cols[j], j]:
            cols[j] = i
    s, c = 0.0, 0
    for j in range(m):
        if cols[j] >= 0:
            s += costs[cols[j], j]
            c += 1
    return s / c
