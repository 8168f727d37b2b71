"""Training in processes of their own, to its end or to a signal."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from agnn_lit.shared.runs import Run
from tests.command import run_python

#: A program that ends the process at a step, as kill -9 would: nothing is cleaned up.
KILLER = """
import os, signal
import agnn_lit.training.module as m
step = m.AGNNModule.training_step
def training_step(self, batch, batch_idx):
    if self.global_step == int(os.environ["KILL_AT"]):
        os.kill(os.getpid(), int(os.environ["KILL_BY"]))
    return step(self, batch, batch_idx)
m.AGNNModule.training_step = training_step
from agnn_lit.commands.train import main
main()
"""


def finish(
    folder: Path, *words: str, program: Sequence[str] = ("-m", "agnn_lit.commands.train"), **env: str
) -> tuple[int, str]:
    """Run agnn-train, or another program of Python; returns its code and what it said, errors last."""
    done = run_python(*program, *words, cwd=folder, **env)
    return done.returncode, done.stdout + done.stderr


def killed(
    folder: Path, at: int, by: signal.Signals, *words: str, program: Sequence[str] = ("-c", KILLER)
) -> tuple[int, str]:
    """Run agnn-train and let it receive a signal when step ``at`` begins."""
    return finish(folder, *words, program=program, KILL_AT=str(at), KILL_BY=str(int(by)))


def only_run(folder: Path) -> Run:
    (status,) = folder.rglob("status.json")
    return Run(status.parent)
