"""Outlines: every crack is used once, and loops are simple."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from agnn_lit.metrics.stability.contour import crack_loops
from tests.metrics.masks import masks


def cracks_of(mask: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """Corner pairs between pixels that differ."""
    found = set()
    for y, x in np.argwhere(mask[:, 1:] != mask[:, :-1]).tolist():
        found.add(frozenset({(y, x + 1), (y + 1, x + 1)}))
    for y, x in np.argwhere(mask[1:] != mask[:-1]).tolist():
        found.add(frozenset({(y + 1, x), (y + 1, x + 1)}))
    return found


@settings(deadline=None, max_examples=300)
@given(masks().filter(lambda mask: mask.any()))
def test_loops_use_every_crack_once_and_pass_no_corner_twice(mask: np.ndarray) -> None:
    inside = np.pad(mask, 1)
    used = []
    for loop in crack_loops(inside):
        corners = [tuple(corner) for corner in loop.tolist()]
        assert corners[0] == corners[-1]
        assert len(set(corners[:-1])) == len(corners) - 1 >= 4
        used += [frozenset(pair) for pair in pairwise(corners)]
    assert len(used) == len(set(used))
    assert set(used) == cracks_of(inside)


def test_outlines_turn_where_four_cracks_meet() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 1] = mask[2, 2] = 1
    loops = crack_loops(mask)
    assert sorted(len(loop) for loop in loops) == [5, 5]
    for loop in loops:
        steps = np.diff(loop, axis=0)
        assert (steps[:-1] != steps[1:]).all()


def test_loop_starts_at_its_upper_left_corner_downwards() -> None:
    (loop,) = crack_loops(np.pad(np.ones((2, 3), np.uint8), 1))
    assert loop[:2].tolist() == [[1, 1], [2, 1]]


@pytest.mark.parametrize(
    ("squares", "order"),
    [(1, [0]), (2, [1, 0]), (3, [2, 0, 1]), (4, [3, 2, 1, 0]), (5, [4, 0, 1, 2, 3]), (6, [5, 4, 3, 2, 1, 0])],
)
def test_loops_come_in_the_order_of_the_official_hash_table(squares: int, order: list[int]) -> None:
    mask = np.zeros((3 * squares + 1, 4), np.uint8)
    for k in range(squares):
        mask[3 * k + 1 : 3 * k + 3, 1:3] = 1
    assert [(loop[0, 0] - 1) // 3 for loop in crack_loops(mask)] == order


@pytest.mark.parametrize(
    ("squares", "rows"),
    [(0, [1, 2]), (1, [6, 1, 2]), (2, [9, 1, 2, 6]), (3, [12, 9, 6, 1, 2]), (4, [15, 1, 2, 6, 9, 12])],
)
def test_the_loops_of_a_junction_stand_where_it_does_in_that_table(squares: int, rows: list[int]) -> None:
    """Two pixels that touch at a corner have one junction, the table's first entry."""
    mask = np.zeros((18, 5), np.uint8)
    mask[1, 1] = mask[2, 2] = 1
    for k in range(squares):
        mask[3 * k + 6, 1] = 1
    assert [int(loop[:, 0].min()) for loop in crack_loops(mask)] == rows
