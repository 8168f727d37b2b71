"""The graph's benchmark on a small grid: sides that agree, rows and ratios."""

from __future__ import annotations

import pytest
import torch

from agnn_lit.benchmarks import graph as benchmark_graph
from agnn_lit.benchmarks.graph import Side, Workload, largest_difference, plain_round, run_graph
from agnn_lit.model import edges


def test_the_plain_round_is_the_models_round():
    model, nodes = Workload(channels=8, grid=(5, 7)).graph().double(), torch.rand(2, 3, 8, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(plain_round(model, nodes), model._round(nodes))


def test_ours_takes_the_blocks():
    Side(Workload(channels=8, grid=(4, 4))).step()
    model = Workload(channels=8, grid=(4, 4)).graph()
    assert all(p.backend == "auto" for p in model.modules() if isinstance(p, (edges.LoopEdge, edges.LineEdge)))
    assert largest_difference(Workload(channels=16, grid=(9, 9)), "float32") < 1e-3
    assert 0 < largest_difference(Workload(channels=16, grid=(9, 9)), "bfloat16") < 0.1


@pytest.mark.long
def test_it_gives_rows_and_ratios(monkeypatch):
    result = run_graph(1, Workload(channels=16, grid=(16, 16)), more=4)
    assert set(result["ratios"]) == {
        "time_plain_over_ours",
        "fp32_time_ours_over_plain",
        "memory_plain_over_ours",
        "memory_plain_over_ours_rounds_again",
        "memory_plain_over_ours_with_more_frames",
    }
    assert [row["name"].split(",")[0] for row in result["rows"]] == ["plain", "ours", "ours", "ours", "ours"]
    assert all(row["seconds"] > 0 for row in result["rows"])
    monkeypatch.setattr(benchmark_graph, "largest_difference", lambda workload, dtype: 0.2)
    with pytest.raises(RuntimeError, match=r"float32 differs from plain fp32 by 0\.2"):
        run_graph(1, Workload(channels=16, grid=(16, 16)))
