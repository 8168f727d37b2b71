"""The W&B workspace and report of a sweep: what they show, and that W&B's package reads them back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from agnn_lit.config import ConfigError
from agnn_lit.sweeps.dashboard import (
    DashboardConfig,
    _contains,
    build_report,
    build_workspace,
    make_dashboard,
    read_sweep,
    specification,
)
from tests.command import call_command
from tests.report.folders import run_folder, score_folder

ws = pytest.importorskip("wandb_workspaces.workspaces")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for rounds in (0, 3):
        for seed in (0, 1):
            folder = run_folder(tmp_path / "rounds" / f"{rounds}-{seed}", rounds=rounds)
            config = yaml.safe_load((folder / "config.yaml").read_text())
            config |= {"seed": seed, "test": True, "logger": {"project": "zvos", "group": "rounds", "entity": None}}
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            evaluation = folder / "evaluations" / "synthetic-test-simple"
            score_folder(evaluation, protocol="simple", J=0.5, data="synthetic-test-simple", threshold=0.5, stage="raw")
    return tmp_path / "rounds"


def panels(workspace) -> dict[str, list]:
    return {section.name: section.panels for section in workspace.sections}


def test_the_workspace_shows_the_sweep_by_its_axis(sweep: Path) -> None:
    shown = read_sweep(DashboardConfig(sweep=str(sweep)))
    assert (shown.project, shown.group, shown.sweep.axes) == ("zvos", "rounds", ("model.rounds",))
    workspace = build_workspace(shown)
    found = panels(workspace)
    assert list(found) == ["Scores", "Curves", "Sequences", "Pictures", "Machine"]
    against = [p for p in found["Scores"] if type(p).__name__ == "ScatterPlot"]
    assert [(p.x.name, p.y.name) for p in against] == [("model.rounds", "test/simple/raw/J")]
    assert [p.y for p in found["Curves"]] == [["val/J"], ["val/F"], ["val/T"], ["train/loss"]]
    assert all(p.groupby.name == "model.rounds" and p.groupby_rangefunc == "stddev" for p in found["Curves"])
    assert [p.table_name for p in found["Sequences"]] == ["test/simple/sequences"]
    assert found["Pictures"][0].media_keys == ["val/overlays", "test/simple/overlays"]
    text = specification(workspace)
    again = ws.Workspace._from_model(type(workspace._to_model()).model_validate_json(text))
    assert list(panels(again)) == list(found)
    assert "rounds" in str(again.runset_settings.filters)
    assert [config.name for config in again.runset_settings.groupby] == ["model.rounds"]


def test_scores_of_a_training_and_of_an_evaluation_have_names_of_their_own(sweep: Path) -> None:
    for folder in sweep.iterdir():
        evaluation = folder / "evaluations" / "synthetic-test-simple-flip"
        for stage, place in (("raw", evaluation / "stages/raw"), ("flip", evaluation)):
            place.mkdir(parents=True, exist_ok=True)
            score_folder(place, protocol="simple", data=evaluation.name, threshold=0.5, stage=stage)
    shown = read_sweep(DashboardConfig(sweep=str(sweep)))
    names = [name for name in shown.scores if name.endswith("/J")]
    assert sorted(names) == [
        "synthetic-test-simple-flip/flip/J",
        "synthetic-test-simple-flip/raw/J",
        "test/simple/raw/J",
    ]
    assert sorted(shown.names("sequences")) == ["synthetic-test-simple-flip/sequences", "test/simple/sequences"]


def test_a_sweep_of_seeds_alone_is_shown_by_them(sweep: Path) -> None:
    for seed in (0, 1):
        shutil.rmtree(sweep / f"0-{seed}")
    shown = read_sweep(DashboardConfig(sweep=str(sweep)))
    assert shown.sweep.axes == ()
    workspace = build_workspace(shown)
    assert all(p.groupby.name == "seed" for p in panels(workspace)["Curves"])
    assert specification(workspace)
    assert specification(build_report(shown, online=False))


def test_without_a_key_both_are_written_and_validated(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_dashboard(DashboardConfig(sweep=str(sweep), mode="offline"))
    assert [Path(file).name for file in made] == ["workspace.json", "report.json"]
    report = json.loads((sweep / "dashboard" / "report.json").read_text())
    assert report["displayName"] == "rounds: rounds K, 2 seeds each"
    assert "test/simple/raw/J" in json.dumps(report)
    assert "not created" in capsys.readouterr().out


def test_with_a_key_both_are_created(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as that goes without a server: what would be saved is a workspace and a report of this project."""
    reports = pytest.importorskip("wandb_workspaces.reports.v2")
    saved = []
    monkeypatch.setattr("agnn_lit.sweeps.dashboard.specification", lambda thing: type(thing).__name__)
    for kind in (ws.Workspace, reports.Report):
        monkeypatch.setattr(kind, "save", lambda self: saved.append((type(self).__name__, self.project)))
        monkeypatch.setattr(kind, "url", "https://wandb.example/x")
    made = make_dashboard(DashboardConfig(sweep=str(sweep), entity="me", mode="online"))
    assert saved == [("Workspace", "zvos"), ("Report", "zvos")]
    assert made[2:] == ["https://wandb.example/x"] * 2


def test_wandb_that_refuses_is_quoted(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb.errors import UsageError

    def save(self) -> None:
        raise UsageError("No API key configured.")

    monkeypatch.setattr("agnn_lit.sweeps.dashboard.specification", lambda thing: type(thing).__name__)
    monkeypatch.setattr(ws.Workspace, "save", save)
    with pytest.raises(ConfigError, match=r"W&B: No API key configured\. .* are written: .*report.json"):
        make_dashboard(DashboardConfig(sweep=str(sweep), entity="me", mode="online"))


def test_what_is_no_sweep_is_refused(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 sweeps in it"):
        read_sweep(DashboardConfig(sweep=str(sweep / "0-0")))
    config = yaml.safe_load((sweep / "0-0" / "config.yaml").read_text())
    (sweep / "0-0" / "config.yaml").write_text(yaml.safe_dump({**config, "logger": {"project": "other"}}))
    with pytest.raises(ConfigError, match=r"several values of logger.project: \['other', 'zvos'\]"):
        read_sweep(DashboardConfig(sweep=str(sweep)))
    done = call_command("dashboard", "sweep=nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "agnn-dashboard: nowhere is not a folder"


def test_a_specification_that_comes_back_with_less_is_seen() -> None:
    whole = {"a": [{"b": 1, "c": []}], "d": None}
    assert _contains(whole, {"a": [{"b": 1}]})
    assert not _contains(whole, {"a": [{"b": 2}]})
    assert not _contains(whole, {"a": [{"b": 1}, {}]})
    assert not _contains(whole, {"e": 1})
