"""The published mask sets against the official benchmark's own values; needs the data that AGNN_SHARED names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agnn_lit.metrics.protocols import T_SEQUENCES
from agnn_lit.metrics.score_folders import ScoreConfig, score
from agnn_lit.metrics.summary import SequenceScore

METHODS = ("pdb", "fseg", "cut", "osvos")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not os.environ.get("AGNN_SHARED"),
        reason="AGNN_SHARED is not set: needs published mask sets and official values",
    ),
    pytest.mark.xdist_group("official"),  # one test process scores the folders, once
]


def shared() -> Path:
    return Path(os.environ["AGNN_SHARED"])


def official(name: str) -> Any:
    return json.loads((shared() / "reference" / f"{name}.json").read_text())


def scored(
    masks: Path, annotations: Path, protocol: str, out: Path, sequences: list[str] | None = None
) -> tuple[list[SequenceScore], dict[str, Any]]:
    paths = str(masks), str(annotations), protocol, str(out)
    return score(ScoreConfig(*paths, sequences=sequences, workers=1, progress=False))


@pytest.fixture(scope="module")
def davis2016(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[SequenceScore], dict[str, Any]]]:
    """Scores of the four methods, and of the annotations as if they were a fifth."""
    annotations, out = shared() / "data" / "DAVIS" / "Annotations" / "480p", tmp_path_factory.mktemp("scores")
    folders = {method: shared() / "data" / "results" / "davis2016" / method for method in METHODS}
    folders["annotations"] = annotations
    return {name: scored(folder, annotations, "davis2016", out / name) for name, folder in folders.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_frame_equals_the_official_value(davis2016: Any, method: str) -> None:
    scores, _ = davis2016[method]
    expected = official("davis2016_official")["methods"][method]["per_frame"]
    assert [s.name for s in scores] == sorted(expected)
    assert len(scores) == 20
    for s in scores:
        for letter in "JF":
            ours = np.array([f"{value:.3f}" for value in getattr(s, letter)], float)
            np.testing.assert_array_equal(ours, expected[s.name][letter], err_msg=f"{s.name} {letter}")


@pytest.mark.parametrize("method", METHODS)
def test_the_summary_equals_the_official_table(davis2016: Any, method: str) -> None:
    _, summary = davis2016[method]
    expected = official("davis2016_official")["methods"][method]["summary"]
    ours = {f"{key[0]}{key[2:]}" if "_" in key else key: summary[key] for key in summary if key[:2] in ("J_", "F_")}
    for key, value in expected.items():
        assert f"{summary['T'] if key == 'T' else ours[key]:.3f}" == f"{value:.3f}", key


def test_the_annotations_are_perfect_and_as_steady_as_published(davis2016: Any) -> None:
    _, summary = davis2016["annotations"]
    assert (summary["J_mean"], summary["F_mean"]) == (1, 1)
    assert f"{summary['T']:.3f}" == f"{float(official('davis2016_official')['T_ground_truth']):.3f}"


@pytest.mark.parametrize(("method", "published"), [("andiff", "0.214"), ("sflu", "0.282")])
def test_of_two_outlines_with_as_many_vertices_the_official_one_is_taken(
    tmp_path: Path, method: str, published: str
) -> None:
    """Each has a frame with two such outlines; T with the other one is 0.225 and 0.286."""
    masks, annotations = shared() / "data/results/davis2016" / method, shared() / "data/DAVIS/Annotations/480p"
    _, summary = scored(masks, annotations, "davis2016", tmp_path, sorted(T_SEQUENCES))
    assert f"{summary['T']:.3f}" == published


def test_methods_are_as_steady_as_published_and_in_that_order(davis2016: Any) -> None:
    reference = official("davis2016_official")
    published = {m: reference["methods"][m]["summary"]["T"] for m in METHODS}
    published["annotations"] = float(reference["T_ground_truth"])
    ours = {name: summary["T"] for name, (_, summary) in davis2016.items()}
    assert sorted(ours, key=ours.__getitem__) == sorted(published, key=published.__getitem__)


def test_objects_equal_the_official_unsupervised_evaluation(tmp_path: Path) -> None:
    expected = official("davis2017_unsupervised")["per_object"]
    results = shared() / "data" / "results" / "davis2017"
    names = sorted({key.rpartition("_")[0] for key in expected})
    scores, _ = scored(results / "rvos", results / "osvos", "davis2017_unsupervised", tmp_path, names)
    assert sorted(s.name for s in scores) == sorted(expected)
    for s in scores:
        for key, value in expected[s.name].items():
            assert s.columns()[key] == pytest.approx(value, abs=1e-6), (s.name, key)
