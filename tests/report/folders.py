"""Small run and score folders, as agnn-train, agnn-evaluate and agnn-score write them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np

from agnn_lit.report.collect import Scores, read_scores

HEADER = ("sequence", "J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "T")


def write_csv(path: Path, rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def score_folder(
    path: Path,
    sequences: tuple[str, ...] = ("blackswan", "dog"),
    protocol: str = "davis2016",
    J: float = 0.8,
    T: float | None = 0.2,
    frames: int = 6,
    **summary: object,
) -> Path:
    """Scores around ``J`` with a dip in the middle of each sequence."""
    rng = np.random.default_rng(len(sequences))
    per_frame: list[tuple] = [("sequence", "frame", "J", "F")]
    per_sequence: list[tuple] = [HEADER]
    for n, sequence in enumerate(sequences):
        wave = np.sin(np.arange(frames) / max(1, frames - 1) * math.pi)
        j = np.clip(J - 0.03 * n - 0.3 * wave + rng.normal(0, 0.01, frames), 0, 1)
        f = np.clip(j - 0.05, 0, 1)
        per_frame += [(sequence, f"{k:05d}", f"{a:.6g}", f"{b:.6g}") for k, (a, b) in enumerate(zip(j, f, strict=True))]
        t = "" if T is None else T + 0.01 * n
        per_sequence.append((sequence, j.mean(), (j > 0.5).mean(), 0.01, f.mean(), (f > 0.5).mean(), -0.02, t))
    write_csv(path / "per_frame.csv", per_frame)
    write_csv(path / "per_sequence.csv", per_sequence)
    means = {k: float(np.mean([row[i] for row in per_sequence[1:]])) for i, k in enumerate(HEADER[1:-1], start=1)}
    means |= {"JF_mean": (means["J_mean"] + means["F_mean"]) / 2, "T": T}
    counts = {"protocol": protocol, "sequences": len(sequences), "frames": frames * len(sequences)}
    (path / "summary.json").write_text(json.dumps({**means, **counts, **summary}))
    return path


def scores(folder: Path, name: str, run: str | None = None, **more: object) -> Scores:
    """Read what :func:`score_folder` writes to ``folder / name``."""
    return read_scores(score_folder(folder / name, **more), run=run)  # type: ignore[arg-type]


def overlays(path: Path, kinds: tuple[str, ...] = ("best", "median", "worst"), each: int = 2) -> None:
    """Pictures of an evaluation, one colour a kind."""
    folder = path / "overlays"
    folder.mkdir(parents=True)
    entries = []
    for shade, kind in enumerate(kinds):
        for k in range(each):
            file = f"{kind}_{k:02d}_blackswan_{k:05d}.jpg"
            cv2.imwrite(str(folder / file), np.full((36, 64, 3), 60 + 60 * shade, np.uint8))
            entries.append(
                {
                    "file": file,
                    "kind": kind,
                    "sequence": "blackswan",
                    "frame": f"{k:05d}",
                    "J": 0.5,
                    "F": 0.25,
                }
            )
    (folder / "overlays.json").write_text(json.dumps(entries))


def run_folder(path: Path, state: str = "done", rounds: int = 3, metrics: bool = True, steps: int = 40) -> Path:
    """A run with a falling loss and a rising validation J."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(
        f"seed: 0\nname: demo\nmodel:\n  frames: 3\n  rounds: {rounds}\n  gate: channel\n"
        "backbone:\n  name: tiny\n  weights: null\ndata:\n  name: synthetic\n"
        "clips:\n  size: [64, 64]\n  batch_size: 8\noptim:\n  name: adamw\n  lr: 0.001\n"
        f"trainer:\n  max_epochs: 10\n  precision: 32-true\nlogger:\n  project: p{rounds}\n"
    )
    status = {
        "state": state, "parameters": 123456, "git": "0123456789abcdef0123456789abcdef01234567+changes",
        "versions": {"torch": "2.13.0", "agnn-lit": "0.1.0"}, "seconds": 201.3, "command": "agnn-train", "error": None,
    }  # fmt: skip
    if state == "failed":
        status["error"] = "CUDA out of memory <b>"
    (path / "status.json").write_text(json.dumps(status))
    if metrics:
        rows: list[tuple] = [("step", "epoch", "train/loss", "lr/adamw", "val/J", "val/F", "val/T")]
        for step in range(steps):
            loss = math.exp(-step / 15) * (1 + 0.1 * math.sin(step * 9.7)) + 0.1 / (rounds + 1)
            rows.append((step, step // 4, f"{loss:.5f}", f"{1e-3 * (1 - step / steps) ** 0.9:.3g}", "", "", ""))
            if step % 4 == 3:
                j = (0.3 + 0.08 * rounds) * (1 - math.exp(-step / 10))
                t = "nan" if step < 8 else f"{j:.4f}"
                rows.append((step, step // 4, "", "", f"{j:.4f}", f"{j - 0.1:.4f}", t))
        write_csv(path / "metrics.csv", rows)
    return path
