from __future__ import annotations

from pathlib import Path

import pytest

from agnn_lit.shared import processes as memory
from tests.command import run_python


def test_memory_where_the_system_keeps_no_status_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = memory.peak_memory_mb()
    assert usual > 50
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert memory.peak_memory_mb() == pytest.approx(usual, rel=0.2)


LARGE_TASKS = """
import numpy as np
from agnn_lit.shared.processes import open_pool

def work(values):
    return values.sum()

if __name__ == "__main__":
    with open_pool(1, "spawn") as pool:
        tasks = [pool.submit(work, np.zeros(400_000, np.uint8)) for _ in range(6)]
        tasks[0].result()
        raise SystemExit(7)
"""


def test_an_interrupted_pool_ends_while_it_sends_a_large_task(tmp_path):
    """CPython before 3.11.5 would wait forever for a pipe that nobody reads (gh-94777)."""
    (tmp_path / "run.py").write_text(LARGE_TASKS)
    assert run_python("run.py", cwd=tmp_path).returncode == 7
