"""Time of the dense CRF of a frame on one core, beside pydensecrf."""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import numpy as np

from agnn_lit.benchmarks.timing import fastest, peak_mb
from agnn_lit.config import CrfConfig
from agnn_lit.config.registry import register
from agnn_lit.inference.crf import Bytes, Floats, refine

_SIZE = (480, 854)


def scene() -> tuple[Floats, Bytes]:
    """A soft mask, slightly shifted, and its frame with texture, noise and soft light."""
    height, width = _SIZE
    rng = np.random.default_rng(0)
    mask = np.zeros(_SIZE, np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (180, 120), 20, 0, 360, 1, -1)
    coarse = rng.normal(0, 25, (height // 16, width // 16, 3)).astype(np.float32)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    light = np.linspace(-30, 30, width)[None, :, None]
    colours = np.where(mask[..., None] > 0, (170, 90, 60), (80, 120, 130))
    frame = (colours + texture + light + rng.normal(0, 3, (height, width, 3))).clip(0, 255).astype(np.uint8)
    soft = cv2.GaussianBlur(np.roll(mask, 6, axis=1).astype(np.float32), (0, 0), 8)
    return np.asarray(soft, dtype=np.float32), frame


def refined(backend: str) -> Floats:
    """The mask of the scene refined by a CRF backend."""
    return refine(*scene(), CrfConfig(backend))


@register("topic", "crf")
def run_crf(repeats: int = 3) -> dict[str, Any]:
    """Time both backends on an 854×480 frame; OpenCV uses one thread.

    Raises:
        RuntimeError: the masks have an IoU below 0.995.
        ConfigError: pydensecrf is not installed.
    """
    soft, frame = scene()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        backends = ("pydensecrf", "fast")
        calls = [partial(refine, soft, frame, CrfConfig(backend)) for backend in backends]
        a, b = (call() > 0.5 for call in calls)
        if (a & b).sum() < 0.995 * (a | b).sum():
            raise RuntimeError("benchmark of the CRF: masks differ")
        seconds = fastest([*calls], repeats, atol=None)
        rows = [
            {"name": f"dense CRF of a frame, {backend}", "seconds": s, "memory_mb": peak_mb(refined, backend)}
            for backend, s in zip(backends, seconds, strict=True)
        ]
    finally:
        cv2.setNumThreads(threads)
    return {"rows": rows, "ratios": {"pydensecrf_over_fast": seconds[0] / seconds[1]}}
