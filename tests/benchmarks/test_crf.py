"""The benchmark of the CRF, through the command, on a small frame."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from agnn_lit.benchmarks import crf as benchmark_crf
from agnn_lit.benchmarks.run import benchmark
from agnn_lit.config.commands import BenchmarkConfig
from tests.command import call_command


def test_crf_writes_rows_and_the_ratio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark_crf, "_SIZE", (120, 214))
    monkeypatch.setattr(benchmark_crf, "peak_mb", lambda function, backend: function(backend).nbytes / 1e6)
    done = call_command("benchmark", "topic=crf", "repeats=1", "out=new/crf.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "new/crf.json").read_text())
    slow, fast = (row["seconds"] for row in result["rows"])
    assert result["ratios"]["pydensecrf_over_fast"] == pytest.approx(slow / fast)
    assert fast > 0
    assert [row["memory_mb"] for row in result["rows"]] == [120 * 214 * 4 / 1e6] * 2
    threads = cv2.getNumThreads()
    monkeypatch.setattr(benchmark_crf, "refine", lambda soft, frame, cfg: soft * (cfg.backend == "fast"))
    with pytest.raises(RuntimeError, match="masks differ"):
        benchmark(BenchmarkConfig("crf", repeats=1))
    assert cv2.getNumThreads() == threads
