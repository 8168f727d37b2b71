"""Compare refinements of the masks of the weights in the package, on every tenth frame of DAVIS-2016 sequences.

usage: python experiments/refinement/measure.py DAVIS OUT.csv

DAVIS is the folder of the data set. Guided filters are measured if OpenCV has ximgproc (opencv-contrib). Each frame is
refined by all of them in turns, on one thread; times are medians.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import agnn_lit
from agnn_lit.inference.crf import refine
from agnn_lit.metrics.boundary import davis_radius, region_and_boundary

Refinement = Callable[[np.ndarray, np.ndarray], np.ndarray]


def refinements() -> dict[str, Refinement]:
    """Functions of a probability map and its frame, by name."""
    found: dict[str, Refinement] = {
        f"crf={name}": partial(refine, cfg=agnn_lit.CrfConfig(name)) for name in ("none", "band", "fast", "pydensecrf")
    }
    if hasattr(cv2, "ximgproc"):
        filters = cv2.ximgproc
        found["guided filter, r = 8"] = lambda p, frame: filters.guidedFilter(frame, p, 8, 1e-4 * 255**2)
        found["guided filter, r = 16"] = lambda p, frame: filters.guidedFilter(frame, p, 16, 1e-4 * 255**2)
        found["fast global smoother"] = lambda p, frame: filters.fastGlobalSmootherFilter(frame, p, 100.0, 5.0)
    return found


def main() -> None:
    """Entry point."""
    davis, out = Path(sys.argv[1]), Path(sys.argv[2])
    cv2.setNumThreads(1)
    sides = refinements()
    values: dict[str, dict[str, list[tuple[float, float, float]]]] = {name: {} for name in sides}
    model = agnn_lit.load()
    for folder in sorted((davis / "JPEGImages/480p").iterdir()):
        for frame in model.segment(folder):
            if frame.index % 10 != 2:
                continue
            annotation = np.asarray(Image.open(davis / "Annotations/480p" / folder.name / f"{frame.name}.png")) > 0
            for name, refined in sides.items():
                start = time.process_time()
                mask = refined(frame.probability, frame.image) > 0.5
                seconds = time.process_time() - start
                radius = davis_radius(*annotation.shape)
                scores = region_and_boundary(mask.astype(np.uint8), annotation.astype(np.uint8), radius)
                values[name].setdefault(folder.name, []).append((*scores, seconds))
        print(folder.name, flush=True)
    with out.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("refinement", "J", "F", "milliseconds"))
        for name, sequences in values.items():
            j, f = (np.mean([np.mean([v[k] for v in seen]) for seen in sequences.values()]) for k in (0, 1))
            times = [v[2] for seen in sequences.values() for v in seen]
            table.writerow((name, f"{j:.4f}", f"{f:.4f}", f"{1000 * np.median(times):.1f}"))


if __name__ == "__main__":
    main()
