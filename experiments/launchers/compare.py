"""Train the same six runs by each launcher, one of them made to fail and one killed, and compare what comes out.

usage: python experiments/launchers/compare.py [NAME …] [--epochs N] [--out FOLDER]

NAME is sequential, parallel, slurm or ray; all of them without one. Each sweep is the built-in videos with six
learning rates, of which the last one gives a loss that is no number; the run of the fourth is killed once it has a
checkpoint. Then the same command is given again. Runs lie in runs/launchers_NAME; in FOLDER, which is that of this
script, results.csv gets a row for each run, and times.csv one for each command: the seconds that it took and those in
which its runs trained.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from agnn_lit.shared.files import write_text
from agnn_lit.shared.runs import Run

HERE = Path(__file__).parent
RATES = ("0.001", "0.002", "0.003", "0.004", "0.005", "1e30")
KILLED = 3


def command(launcher: str, epochs: int) -> list[str]:
    """The sweep by a launcher; on SLURM with one CPU a run."""
    words = [sys.executable, "-m", "agnn_lit.commands.train", "-m", f"hydra/launcher={launcher}", "experiment=ablation"]
    words += [f"name=launchers_{launcher}", f"optim.lr={','.join(RATES)}", f"trainer.max_epochs={epochs}"]
    words += ["trainer.check_val_every=1", "trainer.checkpoint_minutes=0.05", "test=false", "logger=none"]
    own = {"parallel": ["hydra.launcher.jobs=2"], "slurm": ["hydra.launcher.cpus=1", "hydra.launcher.minutes=60"]}
    return words + own.get(launcher, [])


def runs(launcher: str) -> dict[str, Run]:
    """Runs of a sweep by learning rate."""
    found = {Run(p.parent).load_config().optim.lr: Run(p.parent) for p in folder(launcher).glob("*/config.yaml")}
    return {rate: found[float(rate)] for rate in RATES if float(rate) in found}


def folder(launcher: str) -> Path:
    """Where the runs of a sweep lie."""
    return Path("runs") / f"launchers_{launcher}"


def kill(run: Run) -> None:
    """Kill the process that trains a run, once it has a checkpoint."""
    while not run.last.is_file():
        time.sleep(0.1)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(b"run=") and word.endswith(run.folder.name.encode()) for word in words):
            os.kill(int(process.name), signal.SIGKILL)


def seconds(found: dict[str, Run]) -> float:
    """Time in which runs have trained so far."""
    return sum(run.status.get("fit_seconds", 0.0) for run in found.values())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("launchers", nargs="*", default=["sequential", "parallel", "slurm", "ray"])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE)
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    results, times = io.StringIO(), io.StringIO()
    rows, spent = csv.writer(results, lineterminator="\n"), csv.writer(times, lineterminator="\n")
    rows.writerow(["launcher", "lr", "first", "again", "val_J", "metrics_sha256", "fit_seconds"])
    spent.writerow(["launcher", "command", "code", "seconds", "training_seconds"])
    for launcher in words.launchers:
        shutil.rmtree(folder(launcher), ignore_errors=True)
        states: list[dict[str, str]] = []
        for which in ("first", "again"):
            start, before = time.monotonic(), seconds(runs(launcher))
            process = subprocess.Popen(command(launcher, words.epochs))
            if which == "first":
                while len(runs(launcher)) < len(RATES) and process.poll() is None:
                    time.sleep(0.2)
                kill(runs(launcher)[RATES[KILLED]])
            code = process.wait()
            found = runs(launcher)
            taken = [f"{time.monotonic() - start:.1f}", f"{seconds(found) - before:.1f}"]
            spent.writerow([launcher, which, code, *taken])
            states.append({rate: run.status["state"] for rate, run in found.items()})
        for rate, run in runs(launcher).items():
            file = run.folder / "metrics.csv"
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""
            j = run.status.get("metrics", {}).get("val/J", "")
            rows.writerow([launcher, rate, states[0][rate], states[1][rate], j, digest, run.status.get("fit_seconds")])
        write_text(words.out / "results.csv", results.getvalue())
        write_text(words.out / "times.csv", times.getvalue())


if __name__ == "__main__":
    main()
