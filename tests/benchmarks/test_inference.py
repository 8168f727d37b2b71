"""The benchmark of inference, with small networks and frames."""

from __future__ import annotations

from functools import partial

import pytest

from agnn_lit.benchmarks import inference as benchmark_inference
from agnn_lit.benchmarks import timing
from agnn_lit.model.build import build_model
from tests.configs import train_config


@pytest.mark.long
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


def test_the_sides_are_what_they_are_called() -> None:
    small = benchmark_inference.Workload("tiny", (32, 32), (40, 56), length=3, matrix=64)
    sizes = {side: len(begin(small)()) for side, begin in benchmark_inference._SIDES.items()}
    assert sizes == {"official": 1, "plain": 1, "ours": 3, "ours_official": 3, "products": 10}
    timing._begin(partial(benchmark_inference._SIDES["products"], small))
    seconds, megabytes = timing._measure(timing.time_and_peak)
    assert seconds > 0
    assert megabytes > 0
    timing._READY.clear()


def test_the_released_side_is_the_released_model() -> None:
    """The switches are those of model=agnn_official, and the network has the released number of parameters."""
    side = benchmark_inference.build(benchmark_inference.Workload(), released=True)
    cfg = train_config("model=agnn_official", "backbone=deeplab_official", small=False)
    assert str(side) == str(build_model(cfg))
    assert side.rounds == cfg.model.rounds
    assert sum(p.numel() for p in side.parameters()) == 82_324_932
