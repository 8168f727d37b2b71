"""Which methods stand side by side, and beside which published numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agnn_lit.report.collect import Scores, read_scores
from agnn_lit.report.comparison import category_means, compare
from agnn_lit.report.groups import assign_colours, make_groups, protocol_lines, short_names, t_direction
from agnn_lit.report.published import published_tables
from agnn_lit.report.tables import heat_of, heat_table, ranking_table, sequence_table
from tests.report.folders import score_folder

VALIDATION = published_tables()[0].sequences
assert VALIDATION is not None


def scores(tmp_path: Path, name: str, run: str | None = None, **kwargs: object) -> Scores:
    return read_scores(score_folder(tmp_path / name, **kwargs), run=run)  # type: ignore[arg-type]


def opened(groups: list) -> dict[str, bool]:
    return {c.published.id: c.relevant for c in compare(groups, assign_colours([], groups))}


def test_groups_split_by_protocol_data_and_sequences(tmp_path: Path) -> None:
    methods = [
        scores(tmp_path, "a", J=0.6),
        scores(tmp_path, "b", J=0.9),
        scores(tmp_path, "c", protocol="simple"),
        scores(tmp_path, "d", protocol="simple", data="synthetic-test-simple"),
        scores(tmp_path, "e", protocol="simple", data="davis2016-test-simple"),
        scores(tmp_path, "f", sequences=("other",)),
    ]
    groups = make_groups(methods)
    assert [[m.name for m in g.methods] for g in groups] == [["b", "a"], ["c", "d"], ["e"], ["f"]]
    assert groups[1].title == "simple on synthetic"


def test_unequal_sequences_are_said_and_ranked_over_the_common_ones(tmp_path: Path) -> None:
    low = scores(tmp_path, "low", sequences=("dog", "cows", "camel"), J=0.6)
    high = scores(tmp_path, "high", sequences=("dog", "goat"), J=0.9)
    (group,) = make_groups([low, high])
    assert group.common == ("dog",)
    assert not group.uniform
    assert "1 of 4 are common" in group.notices[0]
    assert group.score(low) == pytest.approx((low.sequences["dog"]["J_mean"] + low.sequences["dog"]["F_mean"]) / 2)
    table = ranking_table(group, {})
    assert table.columns[2].title == "J&F, common"
    assert table.rows[0][1].text == "high"
    assert not any(cell.mark == "best" for row in table.rows for cell in row[3:])


def test_notices_on_frames_and_thresholds(tmp_path: Path) -> None:
    (group,) = make_groups(
        [scores(tmp_path, "a", frames=5, threshold=0.5), scores(tmp_path, "b", frames=6, threshold=0.4)]
    )
    assert "frames differs" in group.notices[0]
    assert "thresholds" in group.notices[1]


def test_evaluations_are_named_by_their_run(tmp_path: Path) -> None:
    groups = make_groups(
        [
            scores(tmp_path, "x/raw", run="r1", J=0.5),
            scores(tmp_path, "x/crf", run="r1", J=0.8),
            scores(tmp_path, "y/raw", run="r2", J=0.7),
        ]
    )
    assert [m.name for m in groups[0].methods] == ["r1 · crf", "r2", "r1 · raw"]
    assert short_names([Path("/a/x"), Path("/b/x")]) == ["a/x", "b/x"]


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


def test_published_tables_open_where_they_belong(tmp_path: Path) -> None:
    whole = make_groups([scores(tmp_path, "a", sequences=VALIDATION)])
    assert {k for k, v in opened(whole).items() if v} == {"benchmark-davis16", "paper-davis16"}
    assert not any(c.warnings for c in compare(whole, {}))
    simple = make_groups([scores(tmp_path, "b", protocol="simple", data="davis2017-val-simple")])
    assert {k for k, v in opened(simple).items() if v} == {"reimplementation-davis17"}
    assert not any(opened(make_groups([scores(tmp_path, "c", protocol="simple", data="synthetic")])).values())
    objects = make_groups([scores(tmp_path, "d", protocol="davis2017_unsupervised", sequences=("dog_1", "dog_2"))])
    assert {k for k, v in opened(objects).items() if v} == {"paper-davis17"}


def test_partial_scores_are_warned_about(tmp_path: Path) -> None:
    groups = make_groups([scores(tmp_path, "a", sequences=("blackswan", "dog", "mine"))])
    first = compare(groups, {})[0]
    assert first.warnings == (
        "a was scored on 2 of the 20 sequences and 1 more: its means do not compare with the published ones.",
    )


def test_every_published_row_is_shown_with_ours_among_them(tmp_path: Path) -> None:
    groups = make_groups([scores(tmp_path, "ours", sequences=VALIDATION, J=0.95)])
    for comparison in compare(groups, {}):
        shown = [row[0].text for row in (*comparison.table.rows, *comparison.table.footer)]
        assert set(shown) >= {name for name, _ in comparison.published.rows}
        assert ("ours" in shown) is comparison.relevant
    percent = next(c for c in compare(groups, {}) if c.published.id == "paper-davis16")
    ours = next(row for row in percent.table.rows if row[0].text == "ours")
    assert ours[1].text == f"{groups[0].methods[0].mean('J_mean') * 100:.1f}"


def test_sequences_stand_beside_the_reimplementation(tmp_path: Path) -> None:
    groups = make_groups([scores(tmp_path, "ours", protocol="simple", data="davis2016")])
    comparison = next(c for c in compare(groups, {}) if c.published.id == "reimplementation-davis17")
    row = next(r for r in comparison.table.rows if r[0].text == "blackswan")
    assert [c.text for c in row[1:4]] == ["0.886", "0.701", "0.906"]
    assert row[4].sort == pytest.approx(groups[0].methods[0].sequences["blackswan"]["J_mean"])
    assert any("DAVIS-2016" in w for w in comparison.warnings)
    table = sequence_table(groups[0], comparison.published)
    assert [c.text for c in table.rows[0][-3:]] == ["0.886", "0.701", "0.906"]
    assert table.footer[0][-3].text == "0.635"


def test_youtube_objects_by_category(tmp_path: Path) -> None:
    names = ("aeroplane/0001", "aeroplane/0002", "cow/0001")
    method = scores(tmp_path, "ours", protocol="youtube_objects", sequences=names, J_class_mean=0.5)
    means = category_means(method)
    assert set(means) == {"airplane", "cow"}
    j = [method.sequences[n]["J_mean"] for n in names]
    assert means["airplane"] == pytest.approx((j[0] + j[1]) / 2)
    (group,) = make_groups([method])
    comparison = next(c for c in compare([group], {}) if c.published.id == "paper-youtube-objects")
    row = next(r for r in comparison.table.rows if r[0].text == "ours")
    assert row[1].text == f"{50 * (means['airplane'] + means['cow']):.1f}"
    assert row[2].text == f"{100 * means['airplane']:.1f}"
    assert row[3].text == "–"
    assert "class mean" in [c.title for c in ranking_table(group, {}).columns]


def test_published_numbers_are_consistent() -> None:
    tables = {t.id: t for t in published_tables()}
    assert len(tables) == 6
    for table in tables.values():
        top = 100 if table.unit == "per cent" else 1
        for name, values in table.rows:
            assert len(values) == len(table.columns), name
            assert all(v is None or 0 <= v <= top for v in values), name
    off = []
    for name, (mean, *categories) in tables["paper-youtube-objects"].rows:
        numbers = [v for v in categories if v is not None]
        assert len(numbers) == 10
        if not math.isclose(sum(numbers) / 10, mean or 0, abs_tol=0.1):
            off.append(name)
    assert off == ["PDB", "AGNN"]  # as the table's note says
    assert tables["benchmark-davis16"].split == len(VALIDATION or ()) == 20
