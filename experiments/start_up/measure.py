"""Seconds until a command answers: ``python experiments/start_up/measure.py TABLE.csv [MASKS ANNOTATIONS]``.

Help texts, the first training step of the demo, and, with folders of masks and annotations, a whole agnn-score.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
BIN = Path(sys.executable).parent
#: Runs agnn-train until its first step is done.
FIRST_STEP = """
import os, sys
from agnn_lit.commands.train import main
from agnn_lit.training.module import AGNNModule

step = AGNNModule.training_step

def first(self, *args, **kwargs):
    step(self, *args, **kwargs)
    os._exit(0)

AGNNModule.training_step = first
sys.argv = ["agnn-train", "experiment=demo"]
main()
"""


def seconds(words: list[str]) -> float:
    """Return the time of a command in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        env = {**os.environ, "WANDB_MODE": "offline"}
        subprocess.run(words, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - begun


def main() -> None:
    """Time all commands in turns and write the fastest and slowest time of each."""
    table, *folders = sys.argv[1:]
    commands = {
        "agnn-score --help": [str(BIN / "agnn-score"), "--help"],
        "agnn-train --help": [str(BIN / "agnn-train"), "--help"],
        "first training step of experiment=demo": [sys.executable, "-c", FIRST_STEP],
    }
    if folders:
        masks, annotations = (Path(folder).absolute() for folder in folders)
        score = [
            str(BIN / "agnn-score"),
            f"masks={masks}",
            f"annotations={annotations}",
            "protocol=davis2016",
            "out=scores",
        ]
        commands[f"agnn-score of {len([p for p in masks.iterdir() if p.is_dir()])} sequences, J, F and T"] = score
    found = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, words in commands.items():
            found[name].append(seconds(words))
    with Path(table).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["command", "fastest_s", "slowest_s"])
        for name, times in found.items():
            writer.writerow([name, f"{min(times):.2f}", f"{max(times):.2f}"])
            print(f"{name}: {min(times):.2f} to {max(times):.2f} s")


if __name__ == "__main__":
    main()
