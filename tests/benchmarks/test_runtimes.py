"""The benchmark of runtimes, with a tiny network."""

from __future__ import annotations

import pytest

from agnn_lit.benchmarks import runtimes


@pytest.mark.long
def test_every_runtime_is_timed_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    small = runtimes.Workload(package=None, plain="tiny", channels=8, size=(32, 48), footage=(40, 56), length=3)
    result = runtimes.run_runtimes(1, small)
    names = [row["name"] for row in result["rows"]]
    assert [name.split(": ")[1] for name in names if "torch, b" not in name] == ["torch, fp32", *runtimes.BACKENDS]
    assert all(row["seconds"] > 0 and row["memory_mb"] > 100 for row in result["rows"])
    for backend in runtimes.BACKENDS:
        assert result["ratios"][f"tiny_difference_{backend}"] < 1e-4
        assert result["ratios"][f"tiny_torch_over_{backend}"] > 0
    monkeypatch.setattr(runtimes, "with_runtime", lambda *_: lambda: 0.5)
    with pytest.raises(RuntimeError, match="benchmark of runtimes: tiny differs by"):
        runtimes.run_runtimes(1, small)
