"""The benchmark of scoring, on a few small masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agnn_lit.benchmarks import scoring as benchmark_scoring
from agnn_lit.benchmarks.run import benchmark
from agnn_lit.config.commands import BenchmarkConfig


@pytest.mark.long
def test_scoring_writes_rows_and_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, small in (("_FRAMES", 2), ("_MASKS", 2), ("_LENGTH", 3)):
        monkeypatch.setattr(benchmark_scoring, name, small)
    result = benchmark(BenchmarkConfig("scoring", str(tmp_path / "new" / "scoring.json"), repeats=1))
    assert json.loads((tmp_path / "new" / "scoring.json").read_text()) == result
    assert set(result["ratios"]) == {"plain_over_ours", "t_plain_over_ours", "two_processes"}
    seconds = [row["seconds"] for row in result["rows"]]
    pairs = zip(seconds[::2], seconds[1::2], strict=True)
    assert list(result["ratios"].values()) == pytest.approx([first / second for first, second in pairs])
    assert len(result["rows"]) == 6
    for row in result["rows"]:
        assert row.keys() == {"name", "seconds", "memory_mb"}
        assert row["seconds"] > 0
        assert row["memory_mb"] is None or row["memory_mb"] > 10
    printed = capsys.readouterr().out
    assert "two_processes" in printed
    assert "J + F of a frame" in printed
