"""Both backends of the dense CRF on real frames: are the masks the same, are they better, how long does it take?

Soft maps are published masks, blurred. AGNN_SHARED=DIR AGNN_DAVIS_ROOT=DIR python experiments/crf/compare.py
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from agnn_lit.config import CrfConfig
from agnn_lit.data.image_files import index_images
from agnn_lit.data.video import DiskVideo
from agnn_lit.inference.crf import refine
from agnn_lit.metrics.mask_image import read_foreground

METHODS = ("pdb", "fseg", "cut", "osvos")
PER_SEQUENCE = 5
BLUR = 8.0  # standard deviation in pixels
HERE = Path(__file__).parent


def inside(path: Path) -> np.ndarray:
    """Foreground (H, W) of a mask file."""
    return read_foreground(path) > 0


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two masks; 1 when both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def main() -> None:
    """Compare, and write results.csv."""
    cv2.setNumThreads(1)
    davis, masks = Path(os.environ["AGNN_DAVIS_ROOT"]), Path(os.environ["AGNN_SHARED"]) / "data/results/davis2016"
    names = (davis / "ImageSets/frames.txt").read_text().split()
    chosen = []
    for name in names:
        video = DiskVideo(name, tuple(index_images(davis / "JPEGImages/480p" / name)), ())
        chosen += [(video, k * len(video) // PER_SEQUENCE + 3) for k in range(PER_SEQUENCE)]
    rows = []
    for number, (video, i) in enumerate(track(chosen, "frames")):
        method, frame, stem = METHODS[number % len(METHODS)], video.frame(i), video.frame_name(i)
        soft = cv2.GaussianBlur(inside(masks / method / video.name / f"{stem}.png").astype(np.float32), (0, 0), BLUR)
        truth = inside(davis / "Annotations/480p" / video.name / f"{stem}.png")
        row: dict[str, object] = {"sequence": video.name, "frame": stem, "method": method}
        row["J_blurred"] = iou(soft > 0.5, truth)
        found = {}
        for backend in ("fast", "pydensecrf"):
            if number == 0:
                refine(soft, frame, CrfConfig(backend))  # compiles
            start = time.perf_counter()
            found[backend] = refine(soft, frame, CrfConfig(backend)) > 0.5
            row[f"seconds_{backend}"] = time.perf_counter() - start
            row[f"J_{backend}"] = iou(found[backend], truth)
        row["iou_fast_pydensecrf"] = iou(found["fast"], found["pydensecrf"])
        rows.append(row)
    columns = list(rows[0])
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    for key in ("J_blurred", "J_fast", "J_pydensecrf", "iou_fast_pydensecrf", "seconds_fast", "seconds_pydensecrf"):
        values = np.array([row[key] for row in rows], dtype=float)
        print(f"{key:22} mean {values.mean():.4f}  least {values.min():.4f}  largest {values.max():.4f}")
    ratios = np.array([float(row["seconds_pydensecrf"]) / float(row["seconds_fast"]) for row in rows])  # type: ignore[arg-type]
    print(f"pydensecrf over fast   median {np.median(ratios):.1f}  least {ratios.min():.1f}")


if __name__ == "__main__":
    main()
