"""Outlines: every crack is used once, and loops are simple."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
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
