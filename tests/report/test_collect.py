"""Reading run and score folders, and the errors of folders that are not whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agnn_lit.report.collect import ReportError, find_folders, number, read_run, read_scores
from agnn_lit.report.groups import load, make_groups
from tests.report.folders import overlays, run_folder, score_folder


def test_scores_are_read_whole(tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "pdb", T=None)
    overlays(folder)
    scores = read_scores(folder)
    assert scores.name == "pdb"
    assert scores.protocol == "davis2016"
    assert set(scores.sequences) == {"blackswan", "dog"}
    assert len(scores.frames["dog"]) == 6
    assert math.isnan(scores.mean("T"))
    assert math.isnan(scores.sequences["dog"]["T"])
    assert [o.kind for o in scores.overlays] == ["best", "best", "median", "median", "worst", "worst"]


@pytest.mark.parametrize("file", ["summary.json", "per_sequence.csv", "per_frame.csv"])
def test_missing_file_is_named_with_the_command_that_makes_it(tmp_path: Path, file: str) -> None:
    folder = score_folder(tmp_path / "pdb")
    (folder / file).unlink()
    with pytest.raises(ReportError, match=rf"{file} is missing: it is written by agnn-score or agnn-evaluate"):
        read_scores(folder)


def test_broken_files_are_named(tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "pdb")
    (folder / "summary.json").write_text("{")
    with pytest.raises(ReportError, match=r"summary\.json is not valid JSON"):
        read_scores(folder)
    (folder / "summary.json").write_text("[]")
    with pytest.raises(ReportError, match="holds a list"):
        read_scores(folder)
    (folder / "summary.json").write_text("{}")
    (folder / "per_frame.csv").write_text("sequence,frame\n")
    with pytest.raises(ReportError, match="has no column J, F, only sequence, frame"):
        read_scores(folder)
    (folder / "per_frame.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReportError, match="is not a CSV file"):
        read_scores(folder)


def test_data_set_is_recognised(tmp_path: Path) -> None:
    assert read_scores(score_folder(tmp_path / "a", data="davis2017-test-simple")).data == "davis2017"
    assert read_scores(score_folder(tmp_path / "b", data={"name": "synthetic"})).data == "synthetic"
    assert read_scores(score_folder(tmp_path / "c")).data is None


def test_run_with_evaluations(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "demo")
    score_folder(folder / "evaluations" / "synthetic-test-simple", protocol="simple")
    run = read_run(folder)
    assert run.state == "done"
    assert len(run.curves["train/loss"].steps) == 40
    assert len(run.curves["val/J"].values) == 10
    assert math.isnan(run.curves["val/T"].values[0])
    assert [s.run for s in run.scores] == ["demo"]
    assert run.problems == ()


@pytest.mark.parametrize("state", ["failed", "interrupted", "running"])
def test_unfinished_run_is_read(tmp_path: Path, state: str) -> None:
    folder = run_folder(tmp_path / "demo", state=state, metrics=False)
    (folder / "evaluations" / "half").mkdir(parents=True)
    run = read_run(folder)
    assert run.state == state
    assert "metrics.csv is missing" in run.problems[0]
    assert "evaluations/half" in run.problems[1]


def test_run_folder_errors(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "demo", metrics=False)
    with pytest.raises(ReportError, match=r"metrics\.csv is missing: it is written by agnn-train"):
        read_run(folder)
    (folder / "status.json").unlink()
    assert read_run(folder).state == "unknown"
    (folder / "config.yaml").write_text("a: [")
    with pytest.raises(ReportError, match=r"config\.yaml is not valid YAML"):
        read_run(folder)
    (folder / "config.yaml").write_text("")
    with pytest.raises(ReportError, match="holds no settings"):
        read_run(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(ReportError, match=r"config\.yaml is missing: a run folder is written by agnn-train"):
        read_run(folder)


def test_swapped_folders_are_recognised(tmp_path: Path) -> None:
    run, scores = run_folder(tmp_path / "run"), score_folder(tmp_path / "scores")
    with pytest.raises(ReportError, match=r"it is a run folder, give it as runs="):
        read_scores(run)
    with pytest.raises(ReportError, match=r"it is a score folder, give it as scores="):
        read_run(scores)
    with pytest.raises(ReportError, match="is not a folder"):
        read_scores(tmp_path / "nothing")


def test_sweeps_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in (0, 3):
        run_folder(tmp_path / "sweep" / f"rounds={k}", rounds=k)
    names = [p.name for p in find_folders(str(tmp_path / "sweep"), "config.yaml")]
    assert names == ["rounds=0", "rounds=3"]
    assert [p.name for p in find_folders(str(tmp_path / "sweep" / "*3"), "config.yaml")] == ["rounds=3"]
    monkeypatch.chdir(tmp_path)
    assert [p.name for p in find_folders("sweep/*", "config.yaml")] == names
    with pytest.raises(ReportError, match="matches no folder"):
        find_folders("sweep/x*", "config.yaml")
    with pytest.raises(ReportError, match="nowhere is not a folder"):
        find_folders("nowhere", "config.yaml")


def test_load_names(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        score_folder(tmp_path / parent / "scores")
    _, methods = load([], [f"mine={tmp_path / 'a/scores'}", str(tmp_path / "b/scores")])
    assert [m.name for m in methods] == ["mine", "scores"]
    _, methods = load([], [str(tmp_path / "a/scores"), str(tmp_path / "b/scores")])
    assert [m.name for m in methods] == ["a/scores", "b/scores"]
    with pytest.raises(ReportError, match="the name x is given twice"):
        load([], [f"x={tmp_path / 'a/scores'}", f"x={tmp_path / 'b/scores'}"])
    with pytest.raises(ReportError, match="nothing to report"):
        load([], [])


def test_number() -> None:
    assert number("0.5") == 0.5
    assert all(math.isnan(number(v)) for v in (None, "", "x", "nan"))


def test_stages_of_an_evaluation_are_read_beside_it(tmp_path: Path) -> None:
    evaluation = run_folder(tmp_path / "run") / "evaluations" / "davis2016-test-simple-crf_fast"
    score_folder(evaluation, ("bear",), "simple", 0.8, stage="crf")
    score_folder(evaluation / "stages" / "raw", ("bear",), "simple", 0.7, stage="raw")
    run = read_run(tmp_path / "run")
    assert [(s.name, s.summary["stage"]) for s in run.scores] == [
        ("davis2016-test-simple-crf_fast", "crf"),
        ("davis2016-test-simple-crf_fast raw", "raw"),
    ]
    (group,) = make_groups(run.scores)
    assert [m.name for m in group.methods] == [f"run · {s.name}" for s in run.scores]
