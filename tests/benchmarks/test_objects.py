"""The benchmark of telling objects apart, on small frames."""

from __future__ import annotations

import pytest

from agnn_lit.benchmarks import inference as benchmark_inference
from agnn_lit.benchmarks import objects as benchmark_objects


def test_objects_gives_rows_and_the_ratio() -> None:
    small = benchmark_inference.Workload("tiny", (64, 64), (96, 128), length=3)
    result = benchmark_objects.run_objects(1, small)
    assert [row["name"] for row in result["rows"]] == ["a frame: network", "a frame: candidates", "a frame: tracks"]
    network, *ours = (row["seconds"] for row in result["rows"])
    assert min(network, *ours) > 0
    assert result["ratios"]["objects_over_network"] == pytest.approx(sum(ours) / network)
