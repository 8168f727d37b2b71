"""Parts of the foreground: connected, and cut where features differ."""

from __future__ import annotations

import numpy as np
import pytest

from agnn_lit.config import InstancesConfig
from agnn_lit.instances.parts import find_parts, split

CFG = InstancesConfig()


def features(border: int, noise: float, size=(12, 16)) -> np.ndarray:
    """Two kinds of features, left and right of a column."""
    node = np.zeros((4, *size), np.float32)
    node[0, :, :border], node[1, :, border:] = 1, 1
    return node + noise * np.random.default_rng(0).standard_normal(node.shape).astype(np.float32)


def test_connected_pixels_are_a_part_and_corners_connect():
    foreground = np.zeros((48, 64), np.bool_)
    foreground[:10, :10] = foreground[10:20, 10:20] = True  # touch at a corner
    foreground[30:40, 40:60] = True
    parts = find_parts(foreground, None, CFG)
    assert [np.count_nonzero(p) for p in parts] == [200, 200]
    assert (parts[0] | parts[1] == foreground).all()


def test_small_parts_are_left_out():
    foreground = np.zeros((100, 100), np.bool_)
    foreground[:2, :2] = True  # 4 of 10,000 pixels
    foreground[50:60, 50:60] = True
    assert len(find_parts(foreground, None, InstancesConfig(min_area=0.0005))) == 1
    assert len(find_parts(foreground, None, InstancesConfig(min_area=0.0004))) == 2
    assert find_parts(np.zeros((10, 10), np.bool_), None, CFG) == []


@pytest.mark.parametrize("border", [6, 8])
def test_touching_objects_of_different_features_are_cut_apart(border):
    foreground = np.zeros((48, 64), np.bool_)
    foreground[8:40, 8:56] = True
    parts = find_parts(foreground, features(border, 0.05), CFG)
    assert len(parts) == 2
    assert (parts[0] ^ parts[1] == foreground).all(), "each pixel is in one part"
    left = min(parts, key=lambda part: part.any(axis=0).argmax())
    assert np.flatnonzero(left.any(axis=0)).max() == pytest.approx(4 * border, abs=1)


def test_three_objects_are_cut_twice():
    node = np.zeros((4, 12, 18), np.float32)
    node[0, :, :6], node[1, :, 6:12], node[2, :, 12:] = 1, 1, 1
    node += 0.05 * np.random.default_rng(0).standard_normal(node.shape).astype(np.float32)
    assert len(find_parts(np.ones((48, 72), np.bool_), node, CFG)) == 3


def test_one_object_stays_whole():
    whole = np.ones((48, 64), np.bool_)
    assert split(whole, features(0, 0.5), CFG.separation) is None, "noise alone"
    slope = np.linspace(0, 1, 16, dtype=np.float32) * np.ones((4, 12, 1), np.float32)
    assert split(whole, slope, 4.0) is None, "a gradual change"
    stripes = np.zeros((4, 12, 16), np.float32)
    stripes[0, :, ::2], stripes[1, :, 1::2] = 1, 1
    assert split(whole, stripes, CFG.separation) is None, "two kinds of features, scattered over it"
    assert split(whole, np.zeros((4, 12, 16), np.float32), CFG.separation) is None, "no difference at all"
    assert split(whole & (np.arange(64) < 4), features(8, 0.05), CFG.separation) is None, "too few positions"
