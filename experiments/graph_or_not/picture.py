"""Draw the README's picture: frames of one graph, without annotation, with K = 0 and with K = 3.

usage: python experiments/graph_or_not/picture.py RUN_K0 RUN_K3 OUT.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from agnn_lit.data.open import open_videos
from agnn_lit.shared.pictures import draw_overlay, jpeg
from agnn_lit.shared.runs import Run

VIDEOS, FRAMES, WIDTH = ("test-0004", "test-0012"), (0, 4, 8), 190


def row(run: Run | None, name: str) -> np.ndarray:
    """Frames of a video with the prediction of a run drawn on them; without a run, the frames alone."""
    cfg = (run or Run(Path(sys.argv[1]))).load_config()
    video = next(v for v in open_videos(cfg.data, "test", 1) if v.name == name)
    cells = []
    for at in FRAMES:
        frame, annotation = video.frame(at), video.mask(at)
        if run is None:
            picture = cv2.resize(frame, (WIDTH, WIDTH), interpolation=cv2.INTER_NEAREST)
        else:
            file = next(run.folder.glob(f"evaluations/*/masks/{name}/{video.frame_name(at)}.png"))
            picture = draw_overlay(frame, np.asarray(Image.open(file)), annotation, WIDTH)
        cells.append(cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.concatenate(cells, axis=1)


def main() -> None:
    """Entry point."""
    runs = [None, Run(Path(sys.argv[1])), Run(Path(sys.argv[2]))]
    gap = np.full((3 * (WIDTH + 4) + 0, 16, 3), 255, np.uint8)
    blocks = [np.concatenate([row(run, name) for run in runs], axis=0) for name in VIDEOS]
    picture = np.concatenate([blocks[0], gap, blocks[1]], axis=1)
    labels = np.full((picture.shape[0], 120, 3), 255, np.uint8)
    for k, text in enumerate(("frames", "K = 0", "K = 3")):
        at = (4, k * (WIDTH + 4) + WIDTH // 2)
        cv2.putText(labels, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (40, 40, 40), 1, cv2.LINE_AA)
    Path(sys.argv[3]).write_bytes(jpeg(np.concatenate([labels, picture], axis=1)))


if __name__ == "__main__":
    main()
