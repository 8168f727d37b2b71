"""Beside which published numbers scores stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from agnn_lit.report.comparison import category_means, compare
from agnn_lit.report.groups import assign_colours, make_groups
from agnn_lit.report.published import published_tables
from agnn_lit.report.tables import ranking_table, sequence_table
from tests.report.folders import scores

VALIDATION = published_tables()[0].sequences


def opened(groups: list) -> dict[str, bool]:
    return {c.published.id: c.relevant for c in compare(groups, assign_colours([], groups))}


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
        assert set(shown) >= set(comparison.published.rows)
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
