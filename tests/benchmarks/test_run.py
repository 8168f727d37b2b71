"""``agnn-benchmark``: what it writes, and that it refuses to time code that gives other values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from agnn_lit.benchmarks import crf as benchmark_crf
from agnn_lit.benchmarks import inference as benchmark_inference
from agnn_lit.benchmarks import objects as benchmark_objects
from agnn_lit.benchmarks import scoring as benchmark_scoring
from agnn_lit.benchmarks import turns as benchmark_turns
from agnn_lit.benchmarks.run import benchmark
from agnn_lit.config import ConfigError
from agnn_lit.config.commands import BenchmarkConfig
from agnn_lit.config.registry import options
from agnn_lit.model.build import build_model
from agnn_lit.shared import processes as memory
from tests.command import call_command
from tests.configs import train_config


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


def test_code_with_other_values_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="differ"):
        benchmark_turns.fastest([lambda: [1.0, 2.0], lambda: [1.0, 2.1]], 1)


def test_memory_where_the_system_keeps_no_status_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = memory.peak_memory_mb()
    assert usual > 50
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert memory.peak_memory_mb() == pytest.approx(usual, rel=0.2)


def test_wrong_settings_say_what_was_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="topic=speed: must be one of crf, data, graph"):
        benchmark(BenchmarkConfig("speed"))
    with pytest.raises(ConfigError, match="repeats=0"):
        benchmark(BenchmarkConfig("scoring", repeats=0))
    command = [sys.executable, "-m", "agnn_lit.commands.benchmark"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"agnn-benchmark: topic= is needed; one of {', '.join(options('topic'))}; agnn-benchmark --help shows how"
    )


def test_inference_gives_rows_and_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    small = benchmark_inference.Workload("tiny", (32, 32), (40, 56), length=3, matrix=64)
    result = benchmark_inference.run_inference(1, small)
    assert set(result["ratios"]) == {
        *("official_over_ours", "ours_over_limit", "plain_over_ours", "official_over_ours_same_model"),
        *("probability_difference", "probability_difference_official"),
    }
    assert result["ratios"]["probability_difference"] < 0.02
    *sides, limit = result["rows"]
    assert all(row["seconds"] > 0 and row["memory_mb"] > 100 for row in sides)
    assert limit["seconds"] > 0
    assert limit["memory_mb"] != limit["memory_mb"]  # NaN
    monkeypatch.setattr(benchmark_inference, "difference", lambda workload, **which: 0.021)
    with pytest.raises(RuntimeError, match=r"probabilities differ by 0\.021"):
        benchmark_inference.run_inference(1, small)


def test_objects_gives_rows_and_the_ratio() -> None:
    small = benchmark_inference.Workload("tiny", (64, 64), (96, 128), length=3)
    result = benchmark_objects.run_objects(1, small)
    assert [row["name"] for row in result["rows"]] == ["a frame: network", "a frame: candidates", "a frame: tracks"]
    network, *ours = (row["seconds"] for row in result["rows"])
    assert min(network, *ours) > 0
    assert result["ratios"]["objects_over_network"] == pytest.approx(sum(ours) / network)


def test_the_sides_are_what_they_are_called() -> None:
    small = benchmark_inference.Workload("tiny", (32, 32), (40, 56), length=3, matrix=64)
    sizes = {side: len(begin(small)()) for side, begin in benchmark_inference._SIDES.items()}
    assert sizes == {"official": 1, "plain": 1, "ours": 3, "ours_official": 3, "products": 10}
    benchmark_inference._begin("products", small)
    assert benchmark_inference._time() > 0
    benchmark_inference._READY.clear()


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


def test_the_released_side_is_the_released_model() -> None:
    """The switches are those of model=agnn_official, and the network has the released number of parameters."""
    side = benchmark_inference.build(benchmark_inference.Workload(), released=True)
    cfg = train_config("model=agnn_official", "backbone=deeplab_official", small=False)
    assert str(side) == str(build_model(cfg))
    assert side.rounds == cfg.model.rounds
    assert sum(p.numel() for p in side.parameters()) == 82_324_932
