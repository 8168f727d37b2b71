"""J and F against definitions written out pixel by pixel, and the laws they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.plain import plain_boundary, plain_scores
from agnn_lit.metrics.protocols import davis_radius
from agnn_lit.metrics.region import jaccard

from .masks import mask_pairs, masks, star


def boundary_f(p: np.ndarray, g: np.ndarray, radius: int) -> float:
    return region_and_boundary(p, g, radius)[1]


def slow_boundary(mask: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            inside = [(v, u) for v, u in others if v < height and u < width]
            if any(bool(mask[v, u]) != bool(mask[y, x]) for v, u in inside):
                found.append((y, x))
    return found


def slow_f(p: np.ndarray, g: np.ndarray, radius: int) -> float:
    edge_p, edge_g = slow_boundary(p), slow_boundary(g)
    if not edge_p or not edge_g:
        return float(not edge_p and not edge_g)

    def share(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in some]
        return sum(near) / len(near)

    precision, recall = share(edge_p, edge_g), share(edge_g, edge_p)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_j(p: np.ndarray, g: np.ndarray) -> float:
    cells = [(bool(a), bool(b)) for a, b in zip(p.ravel(), g.ravel(), strict=True)]
    union = sum(a or b for a, b in cells)
    return sum(a and b for a, b in cells) / union if union else 1.0


@settings(deadline=None)
@given(mask_pairs(), st.integers(0, 5))
def test_equals_the_definition(pair: tuple[np.ndarray, np.ndarray], radius: int) -> None:
    p, g = pair
    assert jaccard(p, g) == slow_j(p, g)
    assert boundary_f(p, g, radius) == pytest.approx(slow_f(p, g, radius), abs=1e-12)
    assert region_and_boundary(p, g, radius) == (jaccard(p, g), boundary_f(p, g, radius))


@settings(deadline=None)
@given(masks(side=6))
def test_a_boundary_lies_where_the_definition_puts_it(mask: np.ndarray) -> None:
    """Seen through F at radius 0 beside a mask whose boundary is one pixel wide at each place in turn."""
    edge = set(slow_boundary(mask))
    assert set(map(tuple, np.argwhere(plain_boundary(mask)).tolist())) == edge
    for y, x in np.ndindex(mask.shape):
        probe = np.zeros_like(mask)
        probe[y:, x:] = 1
        assert boundary_f(mask, probe, 0) == pytest.approx(slow_f(mask, probe, 0), abs=1e-12)


@settings(deadline=None)
@given(mask_pairs(), st.integers(0, 4))
def test_laws(pair: tuple[np.ndarray, np.ndarray], radius: int) -> None:
    p, g = pair
    assert jaccard(p, g) == jaccard(g, p)
    assert boundary_f(p, g, radius) == pytest.approx(boundary_f(g, p, radius))
    assert jaccard(p, p) == boundary_f(p, p, radius) == 1
    assert 0 <= jaccard(p, g) <= 1
    assert 0 <= boundary_f(p, g, radius) <= boundary_f(p, g, radius + 1) + 1e-12 <= 1 + 1e-11


@settings(deadline=None)
@given(mask_pairs(), st.sampled_from([1, 2, 7, 255]), st.sampled_from([1, 128, 255]))
def test_the_encoding_does_not_matter(pair: tuple[np.ndarray, np.ndarray], first: int, second: int) -> None:
    p, g = pair
    expected = region_and_boundary(p, g, 2)
    assert region_and_boundary(p * np.uint8(first), g * np.uint8(second), 2) == expected
    assert region_and_boundary(p.astype(bool), g.astype(np.int32) * 1000, 2) == expected
    assert region_and_boundary(np.asfortranarray(p), g[::-1][::-1], 2) == expected


def test_empty_masks() -> None:
    empty, full, one = np.zeros((5, 6), bool), np.ones((5, 6), bool), np.eye(5, 6, dtype=bool)
    assert region_and_boundary(empty, empty, 2) == (1, 1)
    assert region_and_boundary(one, empty, 2) == (0, 0)
    assert region_and_boundary(empty, one, 2) == (0, 0)
    assert region_and_boundary(full, empty, 2) == (0, 1)  # neither has a boundary
    assert region_and_boundary(full, full, 2) == (1, 1)


def test_equals_whole_frame_code() -> None:
    for t in range(4):
        p, g = star(t, shift=t), star(0)
        assert region_and_boundary(p, g, 3) == pytest.approx(plain_scores(p, g, 3), abs=1e-12)
    assert plain_scores(0 * p, g, 3) == (0, 0)
    assert plain_scores(0 * p, 0 * g, 3) == (1, 1)


@pytest.mark.parametrize(("height", "width", "radius"), [(480, 854, 8), (1080, 1920, 18), (240, 320, 4), (473, 473, 6)])
def test_radius(height: int, width: int, radius: int) -> None:
    assert davis_radius(height, width) == radius == math.ceil(0.008 * (height**2 + width**2) ** 0.5)


def test_errors_say_what_was_given() -> None:
    mask = np.zeros((4, 5))
    with pytest.raises(ValueError, match=r"prediction of shape \(5, 4\): must be \(4, 5\)"):
        jaccard(mask.T, mask)
    with pytest.raises(ValueError, match=r"prediction of shape \(1, 5\): must be \(4, 5\)"):
        region_and_boundary(mask[:1], mask, 2)
    with pytest.raises(ValueError, match=r"shape \(1, 4, 5\): must be two-dimensional"):
        jaccard(mask[None], mask[None])
    with pytest.raises(ValueError, match="radius=-1"):
        region_and_boundary(mask, mask, -1)
