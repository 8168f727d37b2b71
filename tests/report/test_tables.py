"""Tables of scores: the best, what is missing, and shades."""

from __future__ import annotations

from pathlib import Path

from agnn_lit.report.groups import make_groups, protocol_lines, t_direction
from agnn_lit.report.tables import heat_of, heat_table, ranking_table, sequence_table
from tests.report.folders import scores


def test_ranking_marks_the_best(tmp_path: Path) -> None:
    (group,) = make_groups([scores(tmp_path, "a", J=0.6, T=0.1), scores(tmp_path, "b", J=0.9, T=0.3)])
    table = ranking_table(group, {"a": 0, "b": 1})
    titles = [f"{c.group} {c.title}".strip() for c in table.columns]
    assert titles[:4] == ["#", "method", "J&F", "J mean"]
    best = {titles[i]: row[1].text for row in table.rows for i, c in enumerate(row) if c.mark == "best"}
    assert best["J mean"] == "b"
    assert best["T ↓"] == "a"  # a cost
    assert "J decay" not in best  # equal for both


def test_missing_values_are_dashes(tmp_path: Path) -> None:
    (group,) = make_groups([scores(tmp_path, "a", T=None)])
    table = ranking_table(group, {})
    t = next(i for i, c in enumerate(table.columns) if c.title.startswith("T"))
    assert table.rows[0][t].text == "–"
    assert table.rows[0][t].sort is None
    assert heat_table(group, "T", {}).empty
    assert [c.title for c in sequence_table(group, None).columns] == ["sequence", "J", "F"]


def test_heat_is_stronger_where_better() -> None:
    j, cost, overlap = (
        heat_of("davis2016", "J_mean", 1),
        heat_of("davis2016", "T", 0.5),
        heat_of("simple", "T", 0.5),
    )
    assert j(0.9) > j(0.2)
    assert cost(0.1) > cost(0.4) >= cost(0.5) == 0
    assert overlap(0.4) > overlap(0.1)
    assert heat_of("davis2016", "T", 0.0)(0.0) == 1
    assert t_direction("davis2016") == -1
    assert t_direction("simple") == 1
    assert t_direction("mine") == 0
    assert protocol_lines("mine") == []
    assert dict(protocol_lines("davis2016"))["frames"] == "first and last frame of each sequence dropped"
