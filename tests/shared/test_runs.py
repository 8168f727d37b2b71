from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agnn_lit.shared import runs


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["experiment=demo", "name=x", "overwrite=true"], "default"),
        (["seed=1", "model.rounds=3"], "model.rounds-3+seed-1"),
        (["optim.lr=1e-3", "precision='bf16-mixed'"], "optim.lr-1e-3+precision-bf16-mixed"),
        (
            ["+data.sequences=['a',b]", "data.root='/data/DAVIS 2016'"],
            "data.root-data-DAVIS-2016-cf7cd9e2+data.sequences-a-b",
        ),
    ],
)
def test_runs_are_named_by_their_overrides(overrides, name):
    assert runs.run_name(overrides) == name


#: Takes the lock, forks a process that lives on, and prints its id.
HOLDS = """
import os, sys, time
from pathlib import Path
from agnn_lit.shared.runs import Run
with Run(Path(sys.argv[1])).locked():
    if os.fork() == 0:
        print(os.getpid(), flush=True)  # by now it has closed the lock file
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


@given(st.lists(st.text(min_size=1, max_size=60), max_size=8))
def test_names_need_no_quoting_and_fit_a_file_system(overrides):
    name = runs.run_name(overrides)
    assert 0 < len(name) < 255
    assert all(c.isascii() and (c.isalnum() or c in "_.-+") for c in name)


@pytest.mark.parametrize(
    "values",
    [
        ("a-b", "a+b", "a b", "a/b", "/a/b", "[a+b]", "a--b", "'a''b'"),
        ("1", "-1", "+1", "[1]x"),
        ("1e-3", "1e+3"),
        ("猫", "狗", "", "é", "e\u0301", "\udce9"),
        ("[a-b]", "[a,b]", "[a+b]", "['a,b']"),
    ],
)
def test_other_values_have_other_names(values):
    names = [runs.run_name([f"data.root={value}"]) for value in values]
    assert len(set(names)) == len(names)
    assert all(name.isascii() for name in names)


def test_quotes_do_not_change_a_name():
    for plain, quoted in (("/a b", "'/a b'"), ("it's", "'it\\'s'"), ("[a,b]", "['a',\"b\"]"), ("猫", '"猫"')):
        assert runs.run_name([f"x={plain}"]) == runs.run_name([f"x={quoted}"])


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


def test_differences_name_the_keys():
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}, "e": None}
    assert runs.differences(old, new) == ["b.c: 2 -> 5"]
    assert runs.differences({"a": 1}, {}) == ["a: 1 -> None"]


def test_a_run_is_locked_until_its_process_is_killed_whatever_the_process_has_forked(tmp_path):
    run = runs.Run(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(run.folder)], stdout=subprocess.PIPE) as holder:
        forked = int(holder.stdout.readline())
        try:
            said = f"{run.folder}: another process is training this run"
            with pytest.raises(runs.BusyError, match=said), run.locked():
                pass
            holder.kill()
            holder.wait()
            os.kill(forked, 0)  # as a data worker, which notices only after seconds
            begun = time.monotonic()
            with run.locked():
                assert time.monotonic() - begun < 1
        finally:
            os.kill(forked, signal.SIGKILL)


def test_the_lock_file_is_not_a_file_of_the_run(tmp_path):
    run = runs.Run(tmp_path / "run")
    with run.locked():
        assert [path.name for path in run.folder.iterdir()] == [".lock"]
        run.clear()  # nothing to remove, and nothing of somebody else's
        with pytest.raises(runs.ConfigError, match="no such run"):
            run.load_config()
        run.update(state="failed")
        (run.folder / "metrics.csv").touch()
        run.clear()
        assert [path.name for path in run.folder.iterdir()] == [".lock"]
        with pytest.raises(runs.BusyError), runs.Run(run.folder).locked():
            pass
    run.unlock()
    run.folder.rmdir()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_that_cannot_lock_is_warned_of(tmp_path, monkeypatch, capsys, number):
    def refusing(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refusing)
    run = runs.Run(tmp_path / "run")
    with run.locked():
        run.update(state="running")
    said = capsys.readouterr().err
    assert said.startswith(f"{run.folder}: cannot be locked against other processes: ")
    assert os.strerror(number) in said


def test_a_lock_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), runs.exclusive(tmp_path / "none" / "lock", ""):
        pass
