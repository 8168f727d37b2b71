from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agnn_lit.shared import provenance, runs


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["experiment=demo", "name=x", "overwrite=true"], "default"),
        (["seed=1", "model.rounds=3"], "model.rounds-3+seed-1"),
        (["+data.sequences=[a,b]", "data.root=/data/DAVIS 2016"], "data.root-data-DAVIS-2016+data.sequences-a-b"),
    ],
)
def test_runs_are_named_by_their_overrides(overrides, name):
    assert runs.run_name(overrides) == name


@given(st.lists(st.text(min_size=1, max_size=60), max_size=8))
def test_names_need_no_quoting_and_fit_a_file_system(overrides):
    name = runs.run_name(overrides)
    assert 0 < len(name) < 255
    assert all(c.isascii() and (c.isalnum() or c in "_.-+") for c in name)


def test_long_names_stay_apart():
    common = ["x" * 200]
    assert runs.run_name([*common, "y=1"]) != runs.run_name([*common, "y=2"])


def test_the_folder_is_the_one_that_run_names():
    assert runs.run_dir("runs", "demo", ["seed=1"]) == "runs/demo/seed-1"
    assert runs.run_dir("runs", "demo", ["run=runs/old/default"]) == "runs/old/default"
    assert runs.run_dir("runs", "demo", ["run='a b'"]) == "a b"
    assert runs.run_dir("runs", "demo", ["run=null"]) == "runs/demo/default"


def test_status_adds_up_time_and_keeps_what_is_not_changed(tmp_path):
    run = runs.Run(tmp_path)
    run.update(state="running", wandb_id="abc", seconds=1)
    status = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps({**status, "seconds": 100.0}))
    again = runs.Run(tmp_path)
    again.update(state="done")
    assert again.status["seconds"] >= 100
    assert again.status["wandb_id"] == "abc"
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_versions_and_revision_are_known(monkeypatch):
    assert runs.versions()["torch"].startswith("2.")
    revision = runs.git_revision()
    assert revision == "unknown" or len(revision.split("+")[0]) == 40

    def no_git(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert runs.git_revision() == "unknown"
    monkeypatch.setattr(provenance, "_PACKAGES", ("no-such-package",))
    assert runs.versions() == {"python": ".".join(map(str, sys.version_info[:3])), "no-such-package": "not installed"}


def test_differences_name_the_keys():
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}, "e": None}
    assert runs.differences(old, new) == ["b.c: 2 -> 5"]
    assert runs.differences({"a": 1}, {}) == ["a: 1 -> None"]
