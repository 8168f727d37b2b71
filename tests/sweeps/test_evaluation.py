"""The evaluation of a whole sweep."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agnn_lit.shared.runs import Run
from agnn_lit.sweeps.launcher import prepare_job
from agnn_lit.training.fit import train
from tests.configs import train_config


@pytest.mark.long
def test_a_sweep_is_evaluated_as_a_whole(tmp_path):
    """Stage by stage, and nothing is trained; what has been evaluated is left, what was not trained is named."""
    for seed in (0, 1):
        train(train_config(f"seed={seed}", "trainer.max_epochs=1", "logger=none"), Run(tmp_path / f"seed-{seed}"))
    prepare_job(Run(tmp_path / "seed-2"), train_config("seed=2"), ["seed=2"])
    command = [
        sys.executable,
        "-m",
        "agnn_lit.evaluate",
        f"run={tmp_path}",
        "experiment=stages",
        "progress=false",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/seed-2: waiting, training is not done" in done.stderr
    tables = {p: p.read_text() for p in tmp_path.glob("seed-*/evaluations/*/stages.csv")}
    assert {p.parents[2].name for p in tables} == {"seed-0", "seed-1"}
    for table in tables.values():
        assert [row.split(",")[0] for row in table.splitlines()[1:]] == ["raw", "scales", "flip", "crf"]
    times = {p: p.stat().st_mtime_ns for p in tables}
    again = subprocess.run([*command[:-2], "experiment=stages"], capture_output=True, text=True, check=False)
    assert again.stdout.count("already evaluated") == 2
    assert {p: p.stat().st_mtime_ns for p in tables} == times
    refused = subprocess.run([*command, "out=x"], capture_output=True, text=True, check=False)
    assert "out=x: not allowed for several runs" in refused.stderr
