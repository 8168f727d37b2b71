"""The permutohedral lattice against the Gaussian kernel that it approximates."""

from __future__ import annotations

import copy

import cv2
import numpy as np

from agnn_lit.inference.crf import bilateral_features
from agnn_lit.inference.lattice import Lattice
from tests.inference.test_crf import scene


def exact(features, values):
    distance = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-0.5 * distance)
    norm = 1 / np.sqrt(kernel.sum(axis=1))
    return norm * (kernel @ (norm * values))


def test_lattice_approximates_the_gaussian_kernel():
    frame, _, _ = scene(30, 40)
    features = bilateral_features(frame, 30, 20)
    values = np.random.default_rng(1).standard_normal(len(features)).astype(np.float32)
    values = cv2.GaussianBlur(values.reshape(30, 40), (0, 0), 3).ravel()
    lattice = Lattice(features)
    lattice.normalise()
    found, expected = lattice(values), exact(features, values)
    assert np.corrcoef(found, expected)[0, 1] > 0.97
    assert np.abs(found - expected).mean() < 0.1 * np.abs(expected).mean()
    # a constant stays what it is, up to the border effects of the symmetric normalisation
    ones = lattice(np.ones(len(features), np.float32))
    assert 0.5 < ones.min() <= ones.max() < 1.5


def test_lattice_is_linear_and_symmetric():
    rng = np.random.default_rng(2)
    lattice = Lattice(rng.uniform(0, 6, (500, 5)).astype(np.float32))
    a, b = rng.standard_normal((2, 500)).astype(np.float32)
    np.testing.assert_allclose(lattice(a + 2 * b), lattice(a) + 2 * lattice(b), atol=1e-4)
    # Each blur is symmetric; they do not commute where vertices are missing, so the transpose has them in reverse.
    back = copy.copy(lattice)
    back._neighbours = lattice._neighbours[::-1].copy()
    impulses = np.eye(500, dtype=np.float32)
    there, transposed = (np.stack([filtered(e) for e in impulses]) for filtered in (lattice, back))
    np.testing.assert_allclose(there, transposed.T, atol=1e-6)
    assert there.diagonal().min() > 0.3
    assert 500 < len(lattice) <= 500 * 6


def test_more_vertices_than_the_first_table_holds():
    features = np.random.default_rng(3).uniform(0, 60, (20000, 5)).astype(np.float32)
    lattice = Lattice(features)
    assert len(lattice) > 2**15
    alone = lattice(np.eye(1, 20000, 7, dtype=np.float32)[0])
    assert alone[7] == alone.max() > 0
    assert (alone > 1e-6).sum() < 20
