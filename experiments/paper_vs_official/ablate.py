"""Train the steps from the paper's graph to the released code's on the built-in videos, and tabulate what each gives.

usage: python experiments/paper_vs_official/ablate.py run [--jobs N]
       python experiments/paper_vs_official/ablate.py record

`run` trains and evaluates every variant with three seeds, N at a time with one thread each, into
runs/paper_vs_official/; what is done already is skipped. `record` writes results.csv, runs.json and steps.svg beside
this script from what it finds there, failed runs included.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib

from agnn_lit.shared.files import write_text

matplotlib.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
RUNS = Path("runs/paper_vs_official")
SEEDS = (0, 1, 2)
EPOCHS = 12

#: What the released code changes, an axis at a time, in an order in which each step can be trained.
AXES = {
    "loop edge": ["model.loop_edge=encoder", "model.loop_reduction=4"],
    "line edge": ["model.line_edge=directed"],
    "gate": ["model.gate=spatial"],
    "aggregation": ["model.aggregation=concat"],
    "update": ["model.update=gru1x1"],
    "read-out": ["model.readout=bn"],
    "auxiliary": ["model.auxiliary=true"],
    "rounds": ["model.rounds=5"],
}


def variants() -> dict[str, list[str]]:
    """Settings by name: the path from the paper to the released code, then each axis changed alone."""
    found: dict[str, list[str]] = {"paper": []}
    settings: list[str] = []
    for axis, changed in AXES.items():
        settings = settings + changed
        found[f"path: {axis}"] = settings
    for axis, changed in AXES.items():
        if axis == "aggregation":  # concatenation has no place for the loop edge's message
            changed = [*changed, "model.loop_edge=none"]
            found["alone: no loop edge"] = ["model.loop_edge=none"]
        if axis != "loop edge":  # the first step of the path
            found[f"alone: {axis}"] = changed
    return found


def folder(name: str, seed: int) -> Path:
    """Where a run lies; named by its variant, since its settings are long."""
    return RUNS / f"{name.replace(': ', '-').replace(' ', '_')}-{seed}"


def train(name: str, seed: int) -> None:
    """Train and evaluate one variant with one seed; what fails stays in its folder with its error."""
    where = folder(name, seed)
    common = [
        "trainer.threads=1",
        "trainer.progress=false",
        f"trainer.max_epochs={EPOCHS}",
        "trainer.check_val_every=6",
    ]
    words = ["experiment=demo", "logger=none", *common, *variants()[name], f"seed={seed}", f"hydra.run.dir={where}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    trained = subprocess.run([sys.executable, "-m", "agnn_lit.commands.train", *words], env=environment, check=False)
    if trained.returncode == 0 and not list(where.glob("evaluations/*/summary.json")):
        words = [f"run={where}", "batch_size=4", "threads=1", "workers=0", "progress=false", "overlays=0"]
        subprocess.run([sys.executable, "-m", "agnn_lit.commands.evaluate", *words], env=environment, check=False)
    print(f"{where}: code {trained.returncode}", flush=True)


def read(name: str, seed: int) -> tuple[dict[str, object], dict[str, float]]:
    """Status, and J, F, T of a run; no scores where it failed or is missing."""
    where = folder(name, seed)
    status = where / "status.json"
    summaries = list(where.glob("evaluations/*/summary.json"))
    scores = json.loads(summaries[0].read_text()) if summaries else {}
    return json.loads(status.read_text()) if status.is_file() else {"state": "missing"}, scores


def record() -> None:
    """Write the table, the provenance and the figure."""
    table = io.StringIO()
    out = csv.writer(table, lineterminator="\n")
    out.writerow(["variant", "seed", "state", "J", "F", "T", "parameters"])
    means: dict[str, list[float]] = {}
    provenance = {}
    versions: dict[str, str] = {}
    for name in variants():
        for seed in SEEDS:
            status, scores = read(name, seed)
            values = [f"{scores[k]:.4f}" if scores else "" for k in ("J_mean", "F_mean", "T")]
            out.writerow([name, seed, status["state"], *values, status.get("parameters", "")])
            if scores:
                means.setdefault(name, []).append(scores["J_mean"])
            words = str(status.get("command", "")).partition(" ")[2]  # without the path of the script
            about = {k: status.get(k) for k in ("state", "git")}
            provenance[f"{name}, seed {seed}"] = {**about, "command": f"agnn-train {words}".strip()}
            versions = {**versions, **status.get("versions", {})}  # type: ignore[dict-item]
    write_text(HERE / "results.csv", table.getvalue())
    machine = {"hardware": f"{platform.machine()} CPU, {os.cpu_count()} cores, one thread a run", "versions": versions}
    write_text(HERE / "runs.json", json.dumps({**machine, "runs": provenance}, indent=1) + "\n")
    draw(means)
    for name, values in means.items():
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"{name:24} J {statistics.mean(values):.3f} ± {spread:.3f}  {[round(v, 3) for v in values]}")


def draw(scores: dict[str, list[float]]) -> None:
    """J of every seed, mean and deviation: the path on the left, single axes on the right."""
    plt.rcParams.update({"svg.hashsalt": "agnn_lit", "svg.fonttype": "none", "axes.spines.top": False})
    groups = {
        "paper to released code, step by step": ["paper", *(n for n in scores if n.startswith("path"))],
        "one axis alone": ["paper", "path: loop edge", *(n for n in scores if n.startswith("alone"))],
    }
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for panel, (title, names) in zip(axes, groups.items(), strict=True):
        shown = [n for n in names if n in scores]
        for place, name in enumerate(shown):
            values = scores[name]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            panel.errorbar(place, statistics.mean(values), spread, fmt="o", color="#2a6f97", capsize=4)
            panel.plot([place + 0.2] * len(values), values, ".", color="#8d99ae", markersize=5)
        labels = [n.partition(": ")[2] or n for n in shown]
        panel.set_xticks(range(len(shown)), labels, rotation=35, ha="right")
        panel.set_title(title, fontsize=10)
    axes[0].set_ylabel("J of 16 held-out videos")
    axes[0].set_ylim(bottom=0)
    figure.savefig(HERE / "steps.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "record"])
    parser.add_argument("--jobs", type=int, default=2)
    words = parser.parse_args()
    if words.what == "record":
        record()
        return
    with ThreadPoolExecutor(words.jobs) as pool:
        list(pool.map(train, *zip(*((name, seed) for name in variants() for seed in SEEDS), strict=True)))  # raises


if __name__ == "__main__":
    main()
