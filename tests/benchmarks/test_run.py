"""``agnn-benchmark``: what it writes, and that it refuses to time code that gives other values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agnn_lit.benchmarks.run import benchmark
from agnn_lit.config import ConfigError
from agnn_lit.config.commands import BenchmarkConfig
from agnn_lit.config.registry import options


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
