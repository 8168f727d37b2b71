"""Statistics of a sequence: mean, recall and decay of its counted values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Above this number of counted values the official code's decay differs: it keeps the quarters' limits in 8 bits.
OFFICIAL_DECAY_LIMIT = 256


def _kept(values: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(values, np.float64).reshape(-1)
    return flat[~np.isnan(flat)]


def mean(values: ArrayLike) -> float:
    """Mean of the values (n,), NaN left out; NaN when none is left."""
    kept = _kept(values)
    return float(kept.mean()) if kept.size else float("nan")


def recall(values: ArrayLike) -> float:
    """Share of the values (n,) above 0.5, NaN left out; NaN when none is left."""
    kept = _kept(values)
    return float(np.mean(kept > 0.5)) if kept.size else float("nan")


def decay(values: ArrayLike) -> float:
    """Mean of the first quarter minus mean of the last: how much quality is lost over time.

    The four quarters of the n values overlap by one: with ids = round(linspace(1, n, 5) + 1e-10) − 1, quarter k is
    values[ids[k]] to values[ids[k+1]] inclusive. Unlike the official code, ids are not cast to 8 bits, so that
    sequences of more than 256 values are measured over their whole length.
    """
    counted = np.asarray(values, np.float64).reshape(-1)
    if not counted.size:
        return float("nan")
    ids = np.round(np.linspace(1, counted.size, 5) + 1e-10).astype(np.int64) - 1
    return mean(counted[ids[0] : ids[1] + 1]) - mean(counted[ids[3] : ids[4] + 1])
