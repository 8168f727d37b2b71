"""Outlines as polygons: those of plain code, simplified and cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.metrics.plain import plain_outline
from agnn_lit.metrics.stability.polygon import outline, simplify, upsample
from tests.metrics.masks import star


def signed_area(points: np.ndarray) -> float:
    y, x = points.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)  # positive: clockwise on the screen


def test_outline_has_the_foreground_on_its_right() -> None:
    mask = np.zeros((60, 70), np.uint8)
    mask[10:50, 15:60] = 1
    points = outline(mask)
    assert points is not None
    assert points.min(axis=0).tolist() == [10, 15]
    assert points.max(axis=0).tolist() == [50, 60]
    assert signed_area(points) == 40 * 45
    jagged = np.zeros((100, 120), np.uint8)
    jagged[:] = 1
    jagged[5:95, 5:115] -= star(0.3)[:90, :110]  # the hole has more vertices than the frame around it
    hole = outline(jagged)
    assert hole is not None
    assert signed_area(hole) < 0


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 6), st.integers(2, 9), st.integers(-30, 30))
def test_outline_equals_plain_code(t: float, spikes: int, shift: int) -> None:
    mask = star(t, spikes=spikes, shift=shift)
    points = outline(mask)
    assert points is not None
    np.testing.assert_allclose(points, plain_outline(mask), atol=1e-9)


@pytest.mark.parametrize("mask", [np.zeros((5, 5)), np.zeros((5, 5), bool)])
def test_no_outline_of_nothing(mask: np.ndarray) -> None:
    assert outline(mask) is None


def test_contours_of_three_vertices_or_fewer_are_dropped() -> None:
    pixel = np.zeros((6, 6), np.uint8)
    pixel[2, 3] = 1
    assert outline(pixel) is None


def test_outline_does_not_depend_on_the_place() -> None:
    mask, moved = np.zeros((90, 160), np.uint8), np.zeros((90, 160), np.uint8)
    mask[:, :120] = star()
    moved[:, 30:150] = star()
    first, second = outline(mask), outline(moved)
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(first + np.array([0, 30]), second)


def test_simplify_straight_lines_and_short_ones() -> None:
    line = np.array([[0, 0], [0, 2], [0, 4], [2, 4], [4, 4]], float)
    assert simplify(line, 0.1).tolist() == [[0, 0], [0, 4], [4, 4]]
    assert simplify(line[:2], 3.0).tolist() == line[:2].tolist()
    # within the tolerance of the last kept vertex, but last
    assert simplify(line[:2].repeat(2, axis=0), 3.0).tolist() == [[0, 0], [0, 2]]


def test_upsample_cuts_long_segments_evenly() -> None:
    line = np.array([[0, 0], [0, 3], [0, 10], [1, 10]], float)
    points = upsample(line, 3.0)
    assert points[:, 1].tolist() == pytest.approx([0, 3, 3 + 7 / 3, 3 + 14 / 3, 10, 10])
