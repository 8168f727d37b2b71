"""Runs, checkpoints and predictions of version 0.1 still evaluate, predict, resume and report to their numbers."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agnn_lit.commands.train import _prepare
from agnn_lit.config import ReportConfig
from agnn_lit.data.open import open_training_videos
from agnn_lit.inference.evaluation import evaluate
from agnn_lit.inference.prediction import predict
from agnn_lit.model.build import build_model
from agnn_lit.report.collect import read_run
from agnn_lit.report.report import make_report
from agnn_lit.shared.runs import Run
from agnn_lit.training.warm_start import start_from
from tests.configs import evaluate_config, predict_config, train_config

WRITTEN = Path(__file__).parent / "runs_of_version_0_1"
#: Words of the command that trained it.
WORDS = (
    "clips.val_share=0.1",
    "clips.batch_size=4",
    "data.synthetic.train_videos=24",
    "trainer.max_epochs=12",
    "trainer.check_val_every=3",
    "trainer.checkpoint_minutes=0",
    "trainer.threads=1",
    "seed=5",
    "optim.lr=0.01",
    "clips.scale=[1.0,1.0]",
    "name=old",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "old"))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def assert_same_numbers(one: Path, two: Path, tolerance: float) -> None:
    """Same cells; numbers up to what another processor rounds differently."""
    assert len(rows(one)) == len(rows(two))
    for a, b in zip(rows(one), rows(two), strict=True):
        assert a.keys() == b.keys()
        for key in a:
            try:
                assert float(a[key]) == pytest.approx(float(b[key]), abs=tolerance), (key, a, b)
            except ValueError:
                assert a[key] == b[key]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("synthetic-test-simple", []),
        ("synthetic-val-simple", ["split=val"]),
        (
            "synthetic-test-simple-random3-scales1_1.5-flip-crf_fast",
            ["references=random", "seed=3", "scales=[1.0,1.5]", "flip=true", "crf=fast", "workers=0"],
        ),
    ],
)
def test_an_evaluation_has_its_name_and_its_numbers(old, name, words):
    """Of the held-out videos, too: they are those of then, although new runs hold others out."""
    _, out = evaluate(evaluate_config(f"run={old / 'done'}", "overlays=0", "threads=1", *words))
    assert out == old / "done" / "evaluations" / name
    written = WRITTEN / "done" / "evaluations" / name
    for table in ("per_frame.csv", "per_sequence.csv", "stages.csv"):
        assert_same_numbers(out / table, written / table, 0.02)
    summary, before = (json.loads((folder / "summary.json").read_text()) for folder in (out, written))
    assert summary.keys() == before.keys()
    assert summary["J_mean"] == pytest.approx(before["J_mean"], abs=0.005)


def test_held_out_videos_stay_those_of_then():
    cfg = Run(WRITTEN / "done").load_config()
    assert not cfg.separate_streams
    assert {video.name for video in open_training_videos(cfg)[1]} == {
        row["sequence"] for row in rows(WRITTEN / "done/evaluations/synthetic-val-simple/per_sequence.csv")
    }
    new = train_config(*WORDS)
    assert new.separate_streams
    assert {v.name for v in open_training_videos(new)[1]} != {v.name for v in open_training_videos(cfg)[1]}


def test_a_prediction_goes_on_in_its_folder_and_has_its_masks(old, capsys):
    (old / "predicted" / "masks" / "00003.png").unlink()
    words = ("dtype=fp32", "threads=1", "overlay=false", "soft=true")
    predict(predict_config(old / "done", old / "frames", old / "predicted", *words))
    assert "6 frames are there from before" in capsys.readouterr().out
    fresh = predict(predict_config(old / "done", old / "frames", old / "fresh", *words))
    for file in sorted((WRITTEN / "predicted" / "masks").glob("*.png")):
        before = np.asarray(Image.open(file))
        for again in (old / "predicted", fresh):
            mask = np.asarray(Image.open(again / "masks" / file.name))
            assert np.count_nonzero(mask != before) <= 0.005 * before.size
        soft = [np.asarray(Image.open(f / "soft" / file.name), np.int16) for f in (WRITTEN / "predicted", fresh)]
        assert abs(soft[0] - soft[1]).max() <= 2


@pytest.mark.long
def test_a_killed_run_continues_to_the_numbers_of_the_whole_one(old):
    command = [sys.executable, "-W", "ignore", "-m", "agnn_lit.train", f"run={old / 'killed'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "continued from" in done.stdout
    assert_same_numbers(old / "killed" / "metrics.csv", WRITTEN / "done" / "metrics.csv", 2e-3)
    assert not Run(old / "killed").load_config().separate_streams


def test_its_command_typed_again_finds_it_done(old, capsys):
    words = [f"data.synthetic.{key}" for key in ("test_videos=3", "length=6", "size=[32,32]")]
    assert _prepare(train_config(*words, *WORDS), Run(old / "done"), []) is None
    assert "already trained" in capsys.readouterr().out


def test_a_report_shows_it(old, tmp_path):
    run = read_run(old / "done")
    assert run.problems == ()
    assert len(run.scores) == 3
    page = make_report(ReportConfig(runs=[str(old / "done")], out=str(tmp_path / "report")))
    assert "0.301" in page.read_text()  # J of the test videos


def test_training_starts_from_its_weights(old):
    cfg = train_config(*WORDS, "model.gate=spatial", "model.rounds=3")
    said = start_from(build_model(cfg), cfg, old / "done" / "checkpoints" / "best.ckpt")
    assert said.endswith("(K = 1, N' = 3); newly initialised: gate")
