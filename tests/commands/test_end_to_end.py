"""Each command once as it is installed, in a process of its own, on a run of seconds.

``agnn-train`` is in ``tests/training/test_fit.py``, ``agnn-convert`` in ``tests/model/test_conversion.py``.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.videos import write_video
from tests.metrics.masks import save_sequence, star
from tests.report.folders import run_folder, score_folder


def command(name: str, *words: str, cwd: Path) -> str:
    """Run an installed command, and return what it prints."""
    program = Path(sys.executable).parent / f"agnn-{name}"
    done = subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as text:
        return list(csv.DictReader(text))


def test_evaluate(run, tmp_path):
    said = command("evaluate", f"run={run.folder}", "out=out", "data.synthetic.test_videos=2", cwd=tmp_path)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    frames = rows(tmp_path / "out/per_frame.csv")
    assert len(frames) == summary["frames"] == 2 * 6
    assert summary["J_mean"] == pytest.approx(np.mean([float(row["J"]) for row in frames]), abs=1e-6)
    assert [row["sequence"] for row in rows(tmp_path / "out/per_sequence.csv")] == ["test-0000", "test-0001"]
    assert len(list((tmp_path / "out/masks").rglob("*.png"))) == 12
    assert f"{summary['J_mean']:.3f}" in said


def test_predict(run, tmp_path):
    write_video(tmp_path / "walk.mp4", frames=5)
    said = command("predict", "input=walk.mp4", "out=walk", f"run={run.folder}", "crf=fast", cwd=tmp_path)
    assert "5 masks and overlay.mp4 in" in said
    masks = sorted((tmp_path / "walk/masks").iterdir())
    assert [mask.name for mask in masks] == [f"{t:05d}.png" for t in range(5)]
    with Image.open(masks[0]) as mask:
        assert (mask.mode, mask.size) == ("P", (64, 48))
    assert (tmp_path / "walk/overlay.mp4").is_file()


def test_score(tmp_path):
    for name, shift in (("masks", 0), ("shifted", 3)):
        save_sequence(tmp_path / name / "bear", [star(0.1 * t, shift=shift) for t in range(3)])
    found = {}
    for name in ("masks", "shifted"):
        words = (f"masks={name}", "annotations=masks", "protocol=simple", f"out={name}-scores", "workers=1")
        command("score", *words, cwd=tmp_path)
        found[name] = json.loads((tmp_path / f"{name}-scores/summary.json").read_text())
    assert (found["masks"]["J_mean"], found["masks"]["F_mean"]) == (1.0, 1.0)
    assert 0.3 < found["shifted"]["J_mean"] < 1
    assert [row["frame"] for row in rows(tmp_path / "masks-scores/per_frame.csv")] == ["00000", "00001", "00002"]


def test_report(run, tmp_path):
    said = command("report", f"runs={run.folder}", "out=page", cwd=tmp_path)
    assert "index.html" in said.replace("\n", "")
    assert "<svg" in (tmp_path / "page/index.html").read_text(), "its curves"


@pytest.mark.long
def test_benchmark(tmp_path):
    """At its full size; ``tests/benchmarks/test_run.py`` calls the same entry point with a small one."""
    command("benchmark", "topic=crf", "repeats=1", "out=crf.json", cwd=tmp_path)
    result = json.loads((tmp_path / "crf.json").read_text())
    slow, fast = (row["seconds"] for row in result["rows"])
    assert result["topic"] == "crf"
    assert result["ratios"]["pydensecrf_over_fast"] == pytest.approx(slow / fast)


def test_dashboard(tmp_path):
    pytest.importorskip("wandb_workspaces.workspaces")
    for rounds in (0, 3):
        folder = run_folder(tmp_path / "rounds" / str(rounds), rounds=rounds)
        file = folder / "config.yaml"
        config = yaml.safe_load(file.read_text()) | {"logger": {"project": "zvos", "group": "rounds", "entity": None}}
        file.write_text(yaml.safe_dump(config))
        score_folder(folder / "evaluations/x", protocol="simple", data="x", threshold=0.5, stage="raw")
    command("dashboard", "sweep=rounds", "mode=offline", cwd=tmp_path)
    report = json.loads((tmp_path / "rounds/dashboard/report.json").read_text())
    assert report["displayName"] == "rounds: rounds K, 1 seed each"
    assert "zvos" in json.dumps(json.loads((tmp_path / "rounds/dashboard/workspace.json").read_text()))
