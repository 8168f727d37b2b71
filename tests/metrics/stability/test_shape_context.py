"""Shape contexts and their matching against plain code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.metrics.plain import plain_contexts, plain_matching, plain_outline
from agnn_lit.metrics.stability.polygon import outline
from agnn_lit.metrics.stability.shape_context import ANGLES, cheapest_path, context_costs, matching_cost, shape_contexts
from tests.metrics.masks import star


def test_contexts_equal_plain_code() -> None:
    points = outline(star(0.7, spikes=7))
    assert points is not None
    contexts = shape_contexts(points)
    assert contexts.shape == (len(points), 60)
    np.testing.assert_allclose(contexts.sum(axis=1), 1)
    np.testing.assert_allclose(contexts, plain_contexts(points), atol=1e-12)


def test_angle_bins_at_their_limits() -> None:
    """Bins start at the y axis and turn towards the x axis; a vertex counts itself in the first."""
    points = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], float)
    first = shape_contexts(points)[0].reshape(5, ANGLES).sum(axis=0)
    assert np.flatnonzero(first).tolist() == [0, 3, 6, 9]
    assert first[0] == pytest.approx(2 / 5)
    almost = np.array([[0, 0], [1, -1e-16], [1e-17, 1], [-1, 0], [0, -1]], float)
    assert shape_contexts(almost)[0].reshape(5, ANGLES).sum(axis=0).tolist() == first.tolist()


def slow_path_cost(costs: np.ndarray) -> float:
    total = np.full(costs.shape, np.inf)
    for i in range(costs.shape[0]):
        for j in range(costs.shape[1]):
            before = [total[a, b] for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
            total[i, j] = min(before) + costs[i, j] if before else 0
    return float(total[-1, -1])


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 1000))
def test_cheapest_path(n: int, m: int, seed: int) -> None:
    costs = np.random.default_rng(seed).random((n, m))
    path = cheapest_path(costs)
    assert path[0].tolist() == [n - 1, m - 1]
    assert path[-1].tolist() == [0, 0]
    steps = -np.diff(path, axis=0)
    assert ((steps == 0) | (steps == 1)).all()
    assert steps.any(axis=1).all()
    assert sum(costs[i, j] for i, j in path[:-1]) == pytest.approx(slow_path_cost(costs))


def test_costs_and_matching_equal_plain_code() -> None:
    first, second = (plain_contexts(plain_outline(star(t, spikes=6))) for t in (0, 0.5))
    a, b = first[:, None], second[None]
    expected = 0.5 * ((a - b) ** 2 / (a + b + 1e-16)).sum(axis=2)
    np.testing.assert_allclose(context_costs(first, second), expected, atol=1e-12)
    assert matching_cost(first, second) == pytest.approx(plain_matching(first, second), abs=1e-9)
    assert 0 <= matching_cost(first, second) <= 1
    assert matching_cost(first, first) == 0
