"""Which methods stand side by side, and beside which published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from agnn_lit.report.groups import make_groups, short_names
from agnn_lit.report.tables import ranking_table
from tests.report.folders import scores


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
