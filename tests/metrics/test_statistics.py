"""Mean, recall and decay against the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agnn_lit.metrics import statistics

values = st.lists(st.floats(0, 1), min_size=1, max_size=400)


@given(values)
def test_decay_is_first_quarter_minus_last(series: list[float]) -> None:
    n = len(series)
    ids = [math.floor(1 + (n - 1) * k / 4 + 0.5 + 1e-9) - 1 for k in (0, 1, 3, 4)]
    # NumPy rounds halves to even; the 1e-10 of the definition pushes them up
    first, last = series[ids[0] : ids[1] + 1], series[ids[2] : ids[3] + 1]
    assert statistics.decay(series) == pytest.approx(sum(first) / len(first) - sum(last) / len(last), abs=1e-12)


@given(values)
def test_mean_and_recall(series: list[float]) -> None:
    assert statistics.mean(series) == pytest.approx(sum(series) / len(series))
    assert statistics.recall(series) == pytest.approx(sum(v > 0.5 for v in series) / len(series))


def test_decay_of_long_sequences_covers_them_whole() -> None:
    series = np.linspace(1, 0, 1000)
    assert statistics.decay(series) == pytest.approx(0.75, abs=2e-3)
    assert statistics.decay([0.3] * 300) == 0


def test_nan_is_left_out_and_nothing_gives_nan() -> None:
    assert statistics.mean([1, math.nan, 0]) == 0.5
    assert statistics.recall([1, math.nan, 0]) == 0.5
    assert all(math.isnan(f([])) for f in (statistics.mean, statistics.recall, statistics.decay))
    assert math.isnan(statistics.mean([math.nan]))
    assert statistics.decay([0.7]) == 0
