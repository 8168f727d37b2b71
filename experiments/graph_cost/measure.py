"""How time and memory of a training step of the graph grow with N' and with the grid.

usage: python experiments/graph_cost/measure.py

C = 256, K = 3, one clip, forward and backward on the CPU; each setting in a process of its own, the second of two steps
is timed, the first one's memory above the process counts. Writes growth.csv and growth.svg beside this script.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import matplotlib
import numpy as np
import torch
from rich.progress import track

from agnn_lit.benchmarks.graph import Side, Workload, measure
from agnn_lit.inference.prepare import choose_dtype
from agnn_lit.shared.files import write_text

matplotlib.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
DEFAULT = str(choose_dtype("auto", torch.device("cpu"))).removeprefix("torch.")
WAYS = {
    "plain, fp32": lambda s: Side(s, plain=True),
    f"ours, {DEFAULT}": lambda s: Side(s, DEFAULT),
    f"ours, {DEFAULT}, rounds again": lambda s: Side(
        Workload(s.channels, s.grid, s.frames, s.rounds, checkpoint=True), DEFAULT
    ),
}
FRAMES = [(frames, 60) for frames in range(2, 9)]
GRIDS = [(3, side) for side in (30, 45, 60)]


def power(sizes: list[float], values: list[float]) -> float:
    """Exponent of growth, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    """Entry point."""
    found: dict[tuple[str, int, int], tuple[float, float]] = {}
    for frames, side in track(sorted({*FRAMES, *GRIDS}), "settings"):
        for way, make in WAYS.items():
            if way.startswith("plain") and frames > 4:
                continue  # over 4 GB
            found[way, frames, side] = measure({way: make(Workload(frames=frames, grid=(side, side)))}, 1)[way]
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["way", "frames", "grid", "seconds", "memory_mb"])
    out.writerows([way, n, side, f"{s:.2f}", f"{mb:.0f}"] for (way, n, side), (s, mb) in found.items())
    write_text(HERE / "growth.csv", text.getvalue())
    plt.rcParams.update({"svg.hashsalt": "agnn_lit", "svg.fonttype": "none", "axes.spines.top": False})
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for column, (settings, label) in enumerate(((FRAMES, "frames N'"), (GRIDS, "positions P of a frame"))):
        for way in WAYS:
            shown = [(n, side) for n, side in settings if (way, n, side) in found]
            sizes = [float(n if column == 0 else side * side) for n, side in shown]
            for row, unit in enumerate(("seconds", "MB")):
                values = [found[way, n, side][row] for n, side in shown]
                exponent = power(sizes, values)
                print(f"{way}: {unit} grow with {label} to the power {exponent:.2f}")
                axes[row, column].loglog(sizes, values, "o-", label=f"{way}: power {exponent:.2f}", linewidth=1)
                axes[row, column].set(xlabel=label, ylabel=unit)
                axes[row, column].legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
