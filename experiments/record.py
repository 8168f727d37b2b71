"""Write the record of an experiment from its run folders.

usage: python experiments/record.py QUESTION RUN [RUN ...] [--without-footage]

Each run must have been evaluated. Writes into experiments/QUESTION/:

- results.csv: a row for each run and sequence, and the mean;
- runs.json: settings, seed, versions, revision, time and kind of hardware of each run;
- curves.svg: loss and validation scores over the steps;
- overlays.jpg: best, median and worst frame of each run. With --without-footage the predictions alone are
  drawn, on grey, for data whose licence does not allow to pass it on.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from agnn_lit.config import typed
from agnn_lit.data.open import open_videos
from agnn_lit.report.collect import Run, Scores, read_run
from agnn_lit.shared.files import write_text
from agnn_lit.shared.pictures import draw_overlay, jpeg

matplotlib.use("svg")
from matplotlib import pyplot as plt


def write_results(folder: Path, runs: dict[str, Run]) -> None:
    """A row for each run, evaluation and sequence, and the means."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["run", "evaluation", "sequence", "J", "F", "T"])
    for label, run in runs.items():
        for file in sorted(run.path.glob("evaluations/*/per_sequence.csv")):
            with file.open() as table:
                for row in csv.DictReader(table):
                    scores = [f"{float(row[k]):.4f}" if row[k] else "" for k in ("J_mean", "F_mean", "T")]
                    out.writerow([label, file.parent.name, row["sequence"], *scores])
            summary = json.loads((file.parent / "summary.json").read_text())
            means = ["" if summary[k] is None else f"{summary[k]:.4f}" for k in ("J_mean", "F_mean", "T")]
            out.writerow([label, file.parent.name, "mean", *means])
    write_text(folder / "results.csv", text.getvalue())


def write_provenance(folder: Path, runs: dict[str, Run]) -> None:
    """Where each run came from; the data folder's path is left out."""
    kept = ("state", "git", "versions", "parameters", "seconds")
    hardware = f"{platform.machine()} CPU, {os.cpu_count()} cores"
    entries = {
        label: {
            **{k: run.status.get(k) for k in kept},
            "hardware": hardware,
            "config": {k: v for k, v in run.config.items() if k not in ("logger", "run", "runs_dir", "overwrite")},
        }
        for label, run in runs.items()
    }
    for entry in entries.values():
        entry["config"]["data"] = {k: v for k, v in entry["config"]["data"].items() if k != "root"}
    write_text(folder / "runs.json", json.dumps(entries, indent=1) + "\n")


def draw_curves(folder: Path, runs: dict[str, Run]) -> None:
    """Loss and validation J over the optimiser's steps."""
    plt.rcParams.update({"svg.hashsalt": "agnn_lit", "svg.fonttype": "none", "axes.spines.top": False})
    shown = [m for m in ("train/loss", "val/J") if any(m in run.curves for run in runs.values())]
    figure, axes = plt.subplots(1, len(shown), figsize=(4.5 * len(shown), 3), squeeze=False, layout="constrained")
    for metric, panel in zip(shown, axes[0], strict=True):
        for label, run in runs.items():
            if metric in run.curves:
                panel.plot(run.curves[metric].steps, run.curves[metric].values, label=label, linewidth=1)
        panel.set(xlabel="step", ylabel=metric)
        panel.set_ylim(bottom=0)
        panel.legend(frameon=False)
    figure.savefig(folder / "curves.svg", metadata={"Date": None})


def overlay_row(run: Run, scores: Scores, *, footage: bool) -> np.ndarray:
    """Best, median and worst frame side by side, drawn anew from the written masks."""
    cfg = typed(run.config)
    videos = {video.name: video for video in open_videos(cfg.data, "test", 1)}
    pictures = []
    for kind in ("best", "median", "worst"):
        chosen = next(o for o in scores.overlays if o.kind == kind)
        video = videos[chosen.sequence]
        at = next(i for i in range(len(video)) if video.frame_name(i) == chosen.frame)
        frame = video.frame(at) if footage else np.full((*video.size, 3), 235, np.uint8)
        prediction = np.asarray(Image.open(scores.path / "masks" / video.name / f"{chosen.frame}.png"))
        annotation = video.mask(at) if footage else None
        pictures.append(draw_overlay(frame, prediction, annotation, width=256))
    return np.concatenate(pictures, axis=1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--without-footage", action="store_true")
    words = parser.parse_args()
    folder = Path(__file__).parent / words.question
    folder.mkdir(exist_ok=True)
    runs = {path.name: read_run(path) for path in words.runs}
    write_results(folder, runs)
    write_provenance(folder, runs)
    draw_curves(folder, runs)
    rows = [overlay_row(run, s, footage=not words.without_footage) for run in runs.values() for s in run.scores]
    (folder / "overlays.jpg").write_bytes(jpeg(np.concatenate(rows, axis=0)))
    print(f"written to {folder}")


if __name__ == "__main__":
    main()
