"""Both T's: laws, and DAVIS's against plain code."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.metrics.plain import plain_stability
from agnn_lit.metrics.region import jaccard
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
