"""Dense CRF: the filters against their definitions, our backend against pydensecrf."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from agnn_lit.config import ConfigError, CrfConfig
from agnn_lit.inference.crf import check_backend, gaussian, refine

FAST = CrfConfig("fast")
REFERENCE = CrfConfig("pydensecrf")


def scene(height=60, width=80, seed=0):
    """A picture of two colours with noise, and a blurred, shifted mask of its object."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 4, height // 3), 20, 0, 360, 1, -1)
    frame = np.where(mask[..., None] > 0, (200, 60, 40), (60, 120, 160)) + rng.normal(0, 6, (height, width, 3))
    soft = cv2.GaussianBlur(np.roll(mask, 3, axis=1).astype(np.float32), (0, 0), 4)
    return frame.clip(0, 255).astype(np.uint8), soft, mask


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_gaussian_is_its_definition():
    image = np.random.default_rng(0).random((9, 12)).astype(np.float32)
    ys, xs = np.mgrid[:9, :12]
    expected = np.zeros((9, 12))
    for y in range(9):
        for x in range(12):
            expected[y, x] = (np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / (2 * 1.5**2)) * image).sum()
    np.testing.assert_allclose(gaussian(image, 1.5), expected, rtol=1e-4)


def test_features_too_far_apart_are_refused():
    frame, soft, _ = scene(20, 30)
    with pytest.raises(ConfigError, match="larger sxy or srgb"):
        refine(soft, frame, CrfConfig("fast", bilateral_srgb=0.1))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spatial_sxy": 3.0, "spatial_compat": 2.0},
        {"bilateral_sxy": 12.0, "bilateral_srgb": 15.0, "bilateral_compat": 4.0},
        {"iterations": 1},
        {"bilateral_compat": 0.0},
    ],
)
def test_fast_equals_pydensecrf(changes):
    frame, soft, mask = scene(90, 120)
    fast = refine(soft, frame, CrfConfig("fast", **changes))
    reference = refine(soft, frame, CrfConfig("pydensecrf", **changes))
    assert fast.shape == reference.shape == (90, 120)
    assert np.abs(fast - reference).mean() < 0.01
    assert iou(fast > 0.5, reference > 0.5) > 0.99
    if not changes:
        assert iou(fast > 0.5, mask > 0) > iou(soft > 0.5, mask > 0) + 0.05


def test_the_band_is_refined_as_by_the_whole_crf_and_the_rest_stays():
    frame, soft, mask = scene(180, 240)
    soft = cv2.GaussianBlur(np.roll(mask, 5, axis=1).astype(np.float32), (0, 0), 2)  # certain away from the outline
    fast, band = (refine(soft, frame, CrfConfig(name)) for name in ("fast", "band"))
    assert iou(band > 0.5, fast > 0.5) > 0.99
    assert iou(band > 0.5, mask > 0) > iou(soft > 0.5, mask > 0) + 0.02
    near = cv2.dilate(((soft > 0.05) & (soft < 0.95)).astype(np.uint8), np.ones((19, 19))) > 0
    assert 0.1 < near.mean() < 0.6
    assert np.array_equal(band[~near], soft[~near])
    assert not np.array_equal(band[near], soft[near])
    everywhere = np.clip(soft, 0.2, 0.8)  # in doubt everywhere: nothing is left out
    both = [refine(everywhere, frame, CrfConfig(name)) for name in ("fast", "band")]
    np.testing.assert_allclose(*both, atol=1e-3)


def test_nothing_is_refined_without_doubt():
    frame, _, _ = scene(20, 30)
    sure = np.zeros((20, 30), np.float32)
    assert np.array_equal(refine(sure, frame, CrfConfig("band")), sure)
    with pytest.raises(ConfigError, match="larger sxy or srgb"):
        refine(np.full((20, 30), 0.5, np.float32), frame, CrfConfig("band", bilateral_srgb=0.1))


def test_certain_and_empty_maps_stay():
    frame, _, _ = scene(20, 30)
    for value in (0.0, 1.0):
        for cfg in (FAST, REFERENCE, CrfConfig("band")):
            out = refine(np.full((20, 30), value, np.float32), frame, cfg)
            assert np.isfinite(out).all()
            assert ((out > 0.5) == (value > 0.5)).all()


def test_a_single_pixel():
    out = refine(np.full((1, 1), 0.7, np.float32), np.zeros((1, 1, 3), np.uint8), FAST)
    assert out.shape == (1, 1)
    assert out[0, 0] > 0.5


def test_none_changes_nothing_and_sizes_must_agree():
    frame, soft, _ = scene()
    assert refine(soft, frame, CrfConfig()) is soft
    with pytest.raises(ValueError, match="differ in size"):
        refine(soft[1:], frame, FAST)


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    check_backend(FAST)
    with pytest.raises(ConfigError, match=r"crf=pydensecrf needs pydensecrf: .*agnn-lit\[crf\]"):
        check_backend(REFERENCE)


def test_the_lattice_gives_what_its_source_says(tmp_path):
    """The same mask from the same code run by the interpreter, in a process without the compiler."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from tests.inference.test_crf import FAST, refine, scene\n"
        "frame, soft, _ = scene(24, 32)\n"
        "np.save(sys.argv[2], refine(soft, frame, FAST))"
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code, str(root), str(tmp_path / "out.npy")],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=root, check=True,
    )  # fmt: skip
    frame, soft, _ = scene(24, 32)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), refine(soft, frame, FAST), atol=1e-3)
