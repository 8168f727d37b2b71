"""The benchmark of runtimes, with a tiny network; in a process of its own, since OpenVINO disturbs pytest's output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agnn_lit.benchmarks.runtimes import BACKENDS

RUN = """
import json
from agnn_lit.benchmarks import runtimes

if __name__ == "__main__":
    small = runtimes.Workload(package=None, plain="tiny", channels=8, size=(32, 48), footage=(40, 56), length=3)
    print(json.dumps(runtimes.run_runtimes(1, small)))
    runtimes.with_runtime = lambda *_: lambda: 0.5
    try:
        runtimes.run_runtimes(1, small)
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.long
def test_every_runtime_is_timed_and_agrees(tmp_path) -> None:
    (tmp_path / "run.py").write_text(RUN)
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *_, printed, _, _, refused = done.stdout.splitlines()
    result = json.loads(printed)
    names = [row["name"].split(": ")[1] for row in result["rows"]]
    assert [name for name in names if name != "torch, bfloat16"] == ["torch, fp32", *BACKENDS]
    assert all(row["seconds"] > 0 and row["memory_mb"] > 100 for row in result["rows"])
    for backend in BACKENDS:
        assert result["ratios"][f"tiny_difference_{backend}"] < 1e-4
        assert result["ratios"][f"tiny_torch_over_{backend}"] > 0
    assert refused.startswith("benchmark of runtimes: tiny differs by ")
