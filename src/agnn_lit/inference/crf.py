"""Dense CRF over the pixels of a frame (Krähenbühl and Koltun, NeurIPS 2011), two labels.

The unary potential is −log of a label's probability. Two pixels with different labels cost
compat_s · exp(−|x|²/2 sxy_s²) + compat_b · exp(−|x|²/2 sxy_b² − |c|²/2 srgb²), for their distance x and colour
difference c; both kernels are normalised symmetrically. Inference is mean field.

Our CRF stays beside pydensecrf, the reference and one of the backends: it needs no compiler and is 10 times as fast,
with the same masks (IoU 0.9994, see ``experiments/crf``).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.config import ConfigError, CrfConfig, option, register
from agnn_lit.inference.lattice import Lattice
from agnn_lit.shared.packages import need_package

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
#: Probabilities are clipped to [_CLIP, 1 − _CLIP], as in pydensecrf.
_CLIP = 1e-5
#: ``band``: labels are in doubt where the probability lies in [_DOUBT, 1 − _DOUBT], or an outline is within _MARGIN
#: pixels; of the other pixels, one of _THIN × _THIN stands for all.
_DOUBT, _MARGIN, _THIN = 0.1, 8, 6


def refine(probability: Floats, frame: Bytes, cfg: CrfConfig) -> Floats:
    """Refine a probability map with the CRF.

    Args:
        probability: foreground probability (H, W).
        frame: (H, W, 3) RGB.
        cfg: backend and parameters.

    Returns:
        Marginal foreground probability (H, W).

    Raises:
        ConfigError: the backend is not installed, or does not support these parameters.
    """
    if probability.shape != frame.shape[:2]:
        raise ValueError(f"probability {probability.shape} and frame {frame.shape[:2]} differ in size")
    refined: Floats = option("crf.backend", cfg.backend).load()(probability, frame, cfg)
    return refined


@register("crf.backend", "none")
def unrefined(probability: Floats, frame: Bytes, cfg: CrfConfig) -> Floats:  # noqa: ARG001 - same call as the others
    """Return the probability unchanged."""
    return probability


def check_backend(cfg: CrfConfig) -> None:
    """Raise ConfigError if the backend's package is not installed; called before anything is predicted."""
    facts = option("crf.backend", cfg.backend).facts
    if "needs" in facts:
        need_package(facts["needs"], facts["extra"], f"crf={cfg.backend}")


def gaussian(image: Floats, sigma: float) -> Floats:
    """Filter an image (H, W), padded with zeros: K x(p) = Σ_q exp(−|p−q|²/2σ²) x(q)."""
    radius = math.ceil(5 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    out = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(out, dtype=np.float32)


def bilateral_features(
    frame: Bytes, sxy: float, srgb: float, pixels: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
) -> Floats:
    """Position and colour of pixels of a frame (H, W, 3) in standard deviations of the kernel: (P, 5).

    ``pixels`` are their rows and columns; None: all H·W.
    """
    if pixels is not None:
        rows, columns = pixels
        found = np.empty((len(rows), 5), np.float32)
        found[:, 0] = columns / np.float32(sxy)
        found[:, 1] = rows / np.float32(sxy)
        found[:, 2:] = frame[rows, columns] / np.float32(srgb)
        return found
    height, width = frame.shape[:2]
    features = np.empty((height, width, 5), np.float32)
    features[..., 0] = np.arange(width, dtype=np.float32) / np.float32(sxy)
    features[..., 1] = np.arange(height, dtype=np.float32)[:, None] / np.float32(sxy)
    features[..., 2:] = frame.astype(np.float32) / np.float32(srgb)
    return features.reshape(-1, 5)


@register("crf.backend", "fast")
def lattice_crf(probability: Floats, frame: Bytes, cfg: CrfConfig) -> Floats:
    """Mean field on s = Q_fg − Q_bg alone: for two labels, log Q_fg / Q_bg = log p/(1−p) + Σ compat · K s."""
    clipped = np.clip(probability.astype(np.float32), _CLIP, 1 - _CLIP)
    unary = np.log(clipped / (1 - clipped))
    norm = 1 / np.sqrt(gaussian(np.ones_like(unary), cfg.spatial_sxy))
    lattice = _lattice(bilateral_features(frame, cfg.bilateral_sxy, cfg.bilateral_srgb))
    lattice.normalise()
    s = np.tanh(0.5 * unary)
    for _ in range(cfg.iterations):
        spatial = norm * gaussian(norm * s, cfg.spatial_sxy)
        bilateral = lattice(s.ravel()).reshape(s.shape)
        s = np.tanh(0.5 * (unary + cfg.spatial_compat * spatial + cfg.bilateral_compat * bilateral))
    marginal: Floats = (0.5 + 0.5 * s).astype(np.float32)
    return marginal


@register("crf.backend", "band", threads=True)  # compiled code and OpenCV; a process would take seconds to start
def band_crf(probability: Floats, frame: Bytes, cfg: CrfConfig) -> Floats:
    """As :func:`lattice_crf` where the label is in doubt; elsewhere the probability stays as it is.

    The other pixels still send their messages, thinned out: one of 6×6 with a weight of 36.
    """
    inside = (probability > 0.5).astype(np.uint8)
    outline = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    unsure = ((probability >= _DOUBT) & (probability <= 1 - _DOUBT)).astype(np.uint8)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _MARGIN + 1, 2 * _MARGIN + 1))
    band = cv2.dilate(np.maximum(unsure, outline), disk) > 0
    if not band.any():
        return probability
    others = np.zeros_like(band)
    others[_THIN // 2 :: _THIN, _THIN // 2 :: _THIN] = True
    rows, columns = np.nonzero(band | (others & ~band))
    doubtful = band[rows, columns]
    weights = np.where(doubtful, 1, _THIN**2).astype(np.float32)
    lattice = _lattice(bilateral_features(frame, cfg.bilateral_sxy, cfg.bilateral_srgb, (rows, columns)))
    scale = 1 / np.sqrt(lattice(weights) + 1e-20)  # symmetric normalisation, see Lattice.normalise
    clipped = np.clip(probability.astype(np.float32), _CLIP, 1 - _CLIP)
    unary = np.log(clipped / (1 - clipped))
    norm = 1 / np.sqrt(gaussian(np.ones_like(unary), cfg.spatial_sxy))
    s = np.tanh(0.5 * unary)
    for _ in range(cfg.iterations):
        spatial = (norm * gaussian(norm * s, cfg.spatial_sxy))[band]
        bilateral = (scale * lattice(weights * scale * s[rows, columns]))[doubtful]
        s[band] = np.tanh(0.5 * (unary[band] + cfg.spatial_compat * spatial + cfg.bilateral_compat * bilateral))
    refined: Floats = np.where(band, 0.5 + 0.5 * s, probability).astype(np.float32)
    return refined


def _lattice(features: Floats) -> Lattice:
    try:
        return Lattice(features)
    except ValueError as error:
        raise ConfigError(f"crf: {error}") from error


@register("crf.backend", "pydensecrf", needs="pydensecrf.densecrf", extra="crf")
def pydensecrf(probability: Floats, frame: Bytes, cfg: CrfConfig) -> Floats:
    """Use pydensecrf, the reference implementation."""
    densecrf = need_package("pydensecrf.densecrf", "crf", "crf=pydensecrf")
    height, width = probability.shape
    clipped = np.clip(probability.astype(np.float32), _CLIP, 1 - _CLIP)
    unary = -np.log(np.stack([1 - clipped, clipped]).reshape(2, -1))
    field = densecrf.DenseCRF2D(width, height, 2)
    field.setUnaryEnergy(np.ascontiguousarray(unary))
    field.addPairwiseGaussian(sxy=cfg.spatial_sxy, compat=cfg.spatial_compat)
    field.addPairwiseBilateral(
        sxy=cfg.bilateral_sxy,
        srgb=cfg.bilateral_srgb,
        rgbim=np.ascontiguousarray(frame),
        compat=cfg.bilateral_compat,
    )
    marginal: Floats = np.asarray(field.inference(cfg.iterations), dtype=np.float32)[1].reshape(height, width)
    return marginal
