"""AGNN written a second time, in float64 NumPy with loops over frames and positions.

Independent of the implementation: weights come in as arrays, nothing of agnn_lit.model is called.
"""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def conv(x, weight, bias=None):
    """(C, H, W) by (O, C, k, k), same padding, position by position."""
    o, _, k, _ = weight.shape
    r = k // 2
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (r, r), (r, r)))
    out = np.zeros((o, height, width))
    for y in range(height):
        for z in range(width):
            patch = padded[:, y : y + k, z : z + k]
            for c in range(o):
                out[c, y, z] = (patch * weight[c]).sum() + (0 if bias is None else bias[c])
    return out


def loop_edge(h, w_f, b_f, w_h, b_h, w_l, b_l, alpha):
    f, g, value = conv(h, w_f, b_f), conv(h, w_h, b_h), conv(h, w_l, b_l)
    _, height, width = h.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    out = h.copy()
    for y, x in places:
        weights = softmax(np.array([f[:, y, x] @ g[:, v, u] for v, u in places]))
        out[:, y, x] = out[:, y, x] + alpha * sum(w * value[:, v, u] for w, (v, u) in zip(weights, places, strict=True))
    return out


def message(h_i, h_j, w_c):
    """m_ji: what frame i receives from frame j."""
    _, height, width = h_i.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    out = np.zeros_like(h_i)
    for y, x in places:
        scores = np.array([h_i[:, y, x] @ w_c @ h_j[:, v, u] for v, u in places])
        for w, (v, u) in zip(softmax(scores), places, strict=True):
            out[:, y, x] += w * h_j[:, v, u]
    return out


def channel_gate(m, w_g, b_g):
    filtered = conv(m, w_g[:, :, None, None], b_g)
    return sigmoid(filtered.mean(axis=(1, 2)))[:, None, None] * m


def spatial_gate(m, w_g):
    return sigmoid(conv(m, w_g)) * m


def conv_gru(m, h, p):
    both = np.concatenate([m, h])
    z = sigmoid(conv(both, p["update.weight"], p["update.bias"]))
    r = sigmoid(conv(both, p["reset.weight"], p["reset.bias"]))
    proposed = np.tanh(conv(np.concatenate([m, r * h]), p["candidate.weight"], p["candidate.bias"]))
    return (1 - z) * h + z * proposed
