"""Both T's: laws, and DAVIS's against plain code."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.metrics.plain import plain_contexts, plain_matching, plain_outline, plain_stability
from agnn_lit.metrics.region import jaccard
from agnn_lit.metrics.stability.polygon import outline
from agnn_lit.metrics.stability.shape_context import ANGLES, cheapest_path, context_costs, matching_cost, shape_contexts
from agnn_lit.metrics.stability.temporal import overlap_stability, shape_context_stability
from tests.metrics.masks import star


def stability_by_overlap(masks: Iterable[np.ndarray]) -> float:
    measure = overlap_stability()
    for mask in masks:
        measure.push(mask)
    return measure.value()


def test_overlap_is_the_mean_iou_of_successive_masks() -> None:
    masks = [star(t) for t in range(4)]
    assert stability_by_overlap(iter(masks)) == pytest.approx(np.mean([jaccard(a, b) for a, b in pairwise(masks)]))
    assert stability_by_overlap([masks[0]] * 3) == 1
    assert math.isnan(stability_by_overlap(masks[:1]))
    assert math.isnan(stability_by_overlap([]))


def test_identical_frames_are_perfectly_steady() -> None:
    assert shape_context_stability([star()] * 3) == 0
    assert shape_context_stability([star() * np.uint8(255), star().astype(bool)]) == 0


@settings(deadline=None, max_examples=10)
@given(st.floats(0, 3), st.floats(0.05, 1.5), st.integers(2, 8))
def test_shape_context_stability_equals_plain_code(t: float, change: float, spikes: int) -> None:
    masks = [star(t, spikes=spikes), star(t + change, spikes=spikes, shift=3)]
    assert shape_context_stability(masks) == pytest.approx(plain_stability(masks), abs=1e-9)


def test_larger_changes_are_less_steady() -> None:
    values = [shape_context_stability([star(0), star(change)]) for change in (0.0, 0.1, 0.5)]
    assert values == sorted(values)
    assert values[2] > 10 * values[1] or values[2] > 0.1


def test_pairs_without_an_outline_are_left_out() -> None:
    empty = np.zeros((90, 120), np.uint8)
    pair = shape_context_stability([star(0), star(0.4)])
    assert shape_context_stability([star(0), star(0.4), empty, empty]) == pair
    assert math.isnan(shape_context_stability([star(0), empty, star(0.4)]))
    assert math.isnan(shape_context_stability([]))


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
