from __future__ import annotations

from agnn_lit.report.runtable import duration


def test_duration() -> None:
    assert [duration(s) for s in (12.2, 200, 7500, float("nan"))] == ["12 s", "3 min 20 s", "2 h 5 min", "–"]
