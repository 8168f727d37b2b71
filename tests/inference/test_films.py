"""``agnn-predict`` for several films: what comes out, what is done again, and workers that share them."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agnn_lit.config import ConfigError
from agnn_lit.data.films import find_films
from agnn_lit.inference import films
from agnn_lit.inference.films import predict_films, work_of
from agnn_lit.inference.prediction import predict
from agnn_lit.shared.runs import exclusive
from agnn_lit.sweeps.local import LocalLauncher
from tests.command import PATIENCE, call_command, run_python, wait_for
from tests.configs import predict_config
from tests.data.videos import write_video


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name, frames in (("a", 4), ("b", 5), ("c", 6)):
        write_video(folder / f"{name}.mp4", frames=frames)
    (folder / "bad.mp4").write_bytes(b"no film")
    return folder


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return {Path(row["film"]).stem: row for row in csv.DictReader(file)}


def masks(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.png"))}


def times(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in sorted(out.rglob("*.png"))}


def call(run, clips, out, *words):
    return call_command(
        "predict", f"input={clips}", f"out={out}", f"run={run.folder}", "progress=false", *words, cwd=out.parent
    )


def test_a_bad_film_is_named_and_stops_no_other(run, clips, tmp_path):
    out = tmp_path / "out"
    said = call(run, clips / "*.mp4", out)
    assert said.returncode == 1
    assert "4 films" in said.stdout
    assert "3 of 4 films" in said.stdout
    assert "15 masks" in said.stdout
    assert f"{clips / 'bad.mp4'}: cannot be opened as a video" in said.stderr
    assert "1 of 4 films is missing (1 failed" in said.stderr
    rows = table(out)
    assert {name: (row["state"], row["frames"]) for name, row in rows.items()} == {
        "a": ("done", "4"),
        "b": ("done", "5"),
        "bad": ("failed", ""),
        "c": ("done", "6"),
    }
    assert "cannot be opened" in rows["bad"]["error"]
    assert (out / "bad" / "error.txt").read_text().startswith("input=")
    alone = predict(predict_config(run.folder, clips / "c.mp4", tmp_path / "alone"))
    assert masks(alone) == masks(out / "c")
    assert (alone / "overlay.mp4").read_bytes() == (out / "c" / "overlay.mp4").read_bytes()


def test_a_repeated_command_does_what_is_missing(run, clips, tmp_path):
    source, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, source)
    call(run, source, out)
    before, files = masks(out), times(out)
    (out / "b" / "masks" / "00002.png").unlink()
    shutil.rmtree(out / "c")
    write_video(source / "bad.mp4", frames=3)
    said = call(run, source, out)
    assert said.returncode == 0, said.stderr
    assert "4 films, 1 of them done before" in said.stdout
    assert {name: before.get(name, value) for name, value in masks(out).items()} == masks(out)
    assert len(masks(out)) == len(before) + 3
    kept = {name for name, when in times(out).items() if files.get(name) == when}
    assert kept == {name for name in before if name.startswith(("a/", "b/"))} - {"b/masks/00002.png"}
    assert not (out / "bad" / "error.txt").exists()
    assert call(run, source, out, "soft=true").returncode == 0
    assert len(masks(out)) == 2 * (len(before) + 3)  # soft maps are missing, and written
    refused = call(run, source, out, "threshold=0.3")
    assert refused.returncode == 1
    assert table(out)["a"]["state"] == "failed"
    assert "holds masks of other settings" in table(out)["a"]["error"]
    assert "4 failed" in refused.stderr
    assert masks(out).keys() >= before.keys()
    assert call(run, source, out, "threshold=0.3", "overwrite=true").returncode == 0


def test_another_worker_has_a_film(run, clips, tmp_path, monkeypatch):
    """It is waited for, and taken if that worker dies."""
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    cfg = predict_config(run.folder, clips, out)
    held = exclusive(out / "b" / ".lock", "held")
    held.__enter__()
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        assert len(masks(out)) == 10  # all others are done
        if len(waits) == 2:
            held.__exit__(None, None, None)

    monkeypatch.setattr(films.time, "sleep", sleep)
    with pytest.raises(SystemExit):
        predict_films(cfg, find_films(str(clips)))
    assert len(waits) == 2
    assert len(masks(out)) == 15


def test_a_full_disk_stops_the_work_and_any_other_error_does_not(run, clips, tmp_path, monkeypatch):
    out = tmp_path / "out"
    cfg = predict_config(run.folder, clips, out)

    def broken(trained, cfg, advance):
        raise error

    monkeypatch.setattr(films, "_predict", broken)
    error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space"):
        predict_films(cfg, find_films(str(clips)))
    for error in (OSError(5, "Input/output error"), RuntimeError("out of memory")):
        with pytest.raises(SystemExit):
            predict_films(cfg, find_films(str(clips)))
        assert {row["state"] for row in table(out).values()} == {"failed"}
        assert str(error.args[-1]) in table(out)["a"]["error"]


@pytest.mark.long
def test_workers_share_the_films_and_each_loads_the_model_once(run, clips, tmp_path):
    out = tmp_path / "out"
    words = ("hydra/launcher=parallel", "hydra.launcher.jobs=2")
    said = call(run, clips, out, *words)
    assert said.returncode == 1, said.stderr
    assert "3 of 4 films" in said.stdout
    one = tmp_path / "one"
    call(run, clips, one)
    assert masks(out) == masks(one)
    assert sorted(p.name for p in (out / ".workers").iterdir()) == ["0", "1", "began", "films.json"]
    work, first = work_of(out / ".workers" / "1")
    assert (len(work.films), first) == (4, 2)
    assert call(run, clips, out, "hydra/launcher=slurm").returncode == 2
    assert "hydra.launcher.jobs=null" in call(run, clips, out, "hydra/launcher=slurm").stderr


@pytest.mark.long
def test_stopped_workers_go_on(run, tmp_path):
    source, out = tmp_path / "clips", tmp_path / "out"
    source.mkdir()
    for number in range(4):
        write_video(source / f"{number}.mp4", frames=40, size=(96, 128))
    words = ("-m", "agnn_lit.predict", f"input={source}", f"out={out}", f"run={run.folder}")
    launch = ("hydra/launcher=parallel", "hydra.launcher.jobs=2", "hydra.launcher.threads=1")
    with subprocess.Popen([sys.executable, *words, *launch], stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(masks(out)) > 8, process)
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, said
    assert "repeat the command" in said
    there = len(masks(out))
    assert 8 < there < 160
    done = run_python(*words, *launch, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(masks(out)) == 160


@pytest.mark.long
def test_a_worker_that_fails_is_reported(run, clips, tmp_path):
    cfg = predict_config(run.folder, clips, tmp_path / "out")

    class Broken(LocalLauncher):
        def run_jobs(self, jobs, should_prune=None, ended=None):
            for job in jobs:
                (job.run.folder / "config.yaml").write_text("first: 0\nthreshold: text\n")
            super().run_jobs(jobs, should_prune, ended)

    with pytest.raises(OSError, match=r"(?s)a worker failed: .*threshold"):
        predict_films(cfg, find_films(str(clips)), Broken(jobs=1))
    with pytest.raises(ConfigError, match="no worker"):
        work_of(tmp_path)
