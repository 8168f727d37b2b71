"""Time of scoring masks, beside plain implementations of the same scores."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from agnn_lit.benchmarks.timing import fastest, peak_mb
from agnn_lit.config.registry import register
from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.mask_files import collect
from agnn_lit.metrics.parallel import score_all
from agnn_lit.metrics.plain import Binary, plain_scores, plain_stability
from agnn_lit.metrics.protocols import T_SEQUENCES, UnscorableError, davis_radius, get_protocol
from agnn_lit.metrics.stability.temporal import shape_context_stability

_HEIGHT, _WIDTH = 480, 854
_RADIUS = davis_radius(_HEIGHT, _WIDTH)
#: Number of frames for J and F, of masks for T, and of frames in each of the ten sequences on disk.
_FRAMES, _MASKS, _LENGTH = 20, 3, 30


@lru_cache(maxsize=64)  # those of J + F and of T, so that only the scoring is timed
def blob(frame: int, wobble: float) -> Binary:
    """Mask (480, 854) of a moving, deforming object that covers a fifth of the frame."""
    angle = np.linspace(0, 2 * math.pi, 400, endpoint=False)
    radius = 150 + 30 * np.sin(3 * angle + 0.1 * frame) + 12 * np.sin(11 * angle + wobble) + 6 * np.cos(23 * angle)
    centre = np.array([_WIDTH / 2 + 60 * math.sin(0.1 * frame), _HEIGHT / 2])
    outline = centre + radius[:, None] * np.stack([1.2 * np.cos(angle), np.sin(angle)], axis=1)
    mask = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], (1,))
    opened: Binary = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
    return opened


def score_frames(score: Callable[[Binary, Binary, int], tuple[float, float]]) -> list[tuple[float, float]]:
    """J and F of the benchmark's frames by one of the implementations."""
    return [score(blob(t, 0.2 + 0.1 * t), blob(t, 0.0), _RADIUS) for t in range(_FRAMES)]


def score_masks(stability: Callable[[Sequence[Binary]], float]) -> float:
    """T of the benchmark's masks by one of the implementations."""
    return stability([blob(t, 0.2 * t) for t in range(_MASKS)])


def _write_sequences(folder: Path) -> None:
    for number, name in enumerate(sorted(T_SEQUENCES)):
        for kind, wobble in (("masks", 0.2), ("annotations", 0.0)):
            (folder / kind / name).mkdir(parents=True)
            for t in range(_LENGTH):
                mask = blob(t + 5 * number, wobble * t)
                Image.fromarray(mask * 255).save(folder / kind / name / f"{t:05d}.png")


def score_folder(folder: str, workers: int) -> list[float]:
    """T of each sequence in a folder with ``masks`` and ``annotations``, by protocol ``davis2016``."""
    protocol = get_protocol("davis2016")
    files, _ = collect(Path(folder) / "masks", Path(folder) / "annotations", protocol, None)
    with score_all(files, protocol, workers) as results:
        scores = [score for done in results if not isinstance(done, UnscorableError) for score in done]
    return [score.T for score in sorted(scores, key=lambda score: score.name)]


@register("topic", "scoring")
def run_scoring(repeats: int = 3) -> dict[str, Any]:
    """Time J + F, T, and a folder of sequences in one and two processes; OpenCV uses one thread.

    Seconds are for a frame of J + F, a pair of masks of T, and the whole folder.

    Raises:
        RuntimeError: our values and those of the plain implementation differ.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        frames = fastest([partial(score_frames, plain_scores), partial(score_frames, region_and_boundary)], repeats)
        contours = fastest(
            [partial(score_masks, plain_stability), partial(score_masks, shape_context_stability)], repeats
        )
        with tempfile.TemporaryDirectory() as folder:
            _write_sequences(Path(folder))
            processes = fastest([lambda: score_folder(folder, 1), lambda: score_folder(folder, 2)], repeats)
            measured = [
                ("J + F of a frame, plain", frames[0] / _FRAMES, peak_mb(score_frames, plain_scores)),
                ("J + F of a frame", frames[1] / _FRAMES, peak_mb(score_frames, region_and_boundary)),
                ("T of a pair, NumPy and Python", contours[0] / (_MASKS - 1), peak_mb(score_masks, plain_stability)),
                ("T of a pair", contours[1] / (_MASKS - 1), peak_mb(score_masks, shape_context_stability)),
                ("ten sequences, one process", processes[0], peak_mb(score_folder, folder, 1)),
                ("ten sequences, two processes", processes[1], peak_mb(score_folder, folder, 2)),
            ]
    finally:
        cv2.setNumThreads(threads)
    return {
        "rows": [{"name": name, "seconds": seconds, "memory_mb": memory} for name, seconds, memory in measured],
        "ratios": {
            "plain_over_ours": frames[0] / frames[1],
            "t_plain_over_ours": contours[0] / contours[1],
            "two_processes": processes[0] / processes[1],
        },
    }
