"""Draw the README's picture: the middle frame of every sequence, with the predicted mask and the annotated contour.

usage: python experiments/davis16/picture.py EVALUATION DAVIS OUT.jpg

EVALUATION is a folder written by agnn-evaluate with its masks, DAVIS the folder of the data set.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from agnn_lit.shared.pictures import draw_overlay, jpeg

COLUMNS, WIDTH, SIZE = 5, 236, (854, 480)


def cell(evaluation: Path, davis: Path, sequence: str, overlap: float) -> np.ndarray:
    """The middle frame of a sequence, with its name and J."""
    masks = sorted((evaluation / "masks" / sequence).glob("*.png"))
    file = masks[len(masks) // 2]
    frame = np.asarray(Image.open(davis / "JPEGImages/480p" / sequence / f"{file.stem}.jpg").resize(SIZE))
    annotation = np.asarray(Image.open(davis / "Annotations/480p" / sequence / file.name)).astype(np.uint8)
    picture = draw_overlay(frame, np.asarray(Image.open(file)), annotation, WIDTH)
    label = np.full((22, WIDTH, 3), 255, np.uint8)
    text = f"{sequence}  J {overlap:.2f}"
    cv2.putText(label, text, (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    joined = np.concatenate([label, picture], axis=0)
    return cv2.copyMakeBorder(joined, 0, 4, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def main() -> None:
    """Entry point."""
    evaluation, davis, out = (Path(word) for word in sys.argv[1:4])
    with (evaluation / "per_sequence.csv").open() as file:
        scores = {row["sequence"]: float(row["J_mean"]) for row in csv.DictReader(file)}
    cells = [cell(evaluation, davis, name, scores[name]) for name in sorted(scores, key=lambda name: -scores[name])]
    rows = [np.concatenate(cells[k : k + COLUMNS], axis=1) for k in range(0, len(cells), COLUMNS)]
    width = max(row.shape[1] for row in rows)
    full = [
        cv2.copyMakeBorder(r, 0, 0, 0, width - r.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255)) for r in rows
    ]
    out.write_bytes(jpeg(np.concatenate(full, axis=0)))


if __name__ == "__main__":
    main()
