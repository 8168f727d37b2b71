"""``debug=fast``, ``limit``, ``overfit`` and ``profile``."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from agnn_lit.data.open import open_training_videos
from agnn_lit.shared.runs import Run
from agnn_lit.training.build import build_datamodule
from agnn_lit.training.fit import train
from tests.configs import train_config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def losses(run: Run) -> list[tuple[int, float]]:
    """The epoch and loss of each step."""
    with (run.folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/loss")]
    return [(int(float(row["epoch"])), float(row["train/loss"])) for row in rows]


@pytest.mark.parametrize(("debug", "steps", "videos"), [("fast", 1, 1), ("limit", 4, 2)])
def test_a_short_run_is_whole(debug, steps, videos, tmp_path):
    run = Run(tmp_path / "run")
    cfg = train_config(f"debug={debug}", "clips.val_share=0.4", "clips.batch_size=3", "trainer.max_epochs=1")
    train(cfg, run)
    # Six videos are trained on: two batches, of which debug=fast takes one.
    assert len(losses(run)) == min(steps, 2)
    assert len(list(run.folder.glob("overlays/*.jpg"))) >= videos
    assert run.best.is_file()
    assert (run.status["state"], run.status["wandb_id"]) == ("done", None)
    assert len(build_datamodule(cfg, *open_training_videos(cfg)).held_out) == videos


def test_one_batch_is_learnt_by_heart(tmp_path):
    run = Run(tmp_path / "run")
    train(train_config("debug=overfit", "trainer.max_epochs=40", "optim.lr=1e-2"), run)
    found = [loss for _, loss in losses(run)]
    assert len(found) == 40
    assert found[-1] < found[0] / 4


def test_every_epoch_has_the_clips_of_the_first():
    cfg = train_config("trainer.limit_batches=2", "trainer.same_clips=true")
    data = build_datamodule(cfg, *open_training_videos(cfg))
    assert data.plan.batches(0) == data.plan.batches(3)
    first, other = (next(iter(data.train_dataloader())) for _ in range(2))
    assert torch.equal(first.images, other.images)
    usual = build_datamodule(train_config("trainer.limit_batches=2"), *open_training_videos(cfg))
    assert usual.plan.batches(0) == data.plan.batches(0) != usual.plan.batches(3)
    assert len(usual.plan.batches(3)) == 2


def test_a_profile_is_written(tmp_path):
    run = Run(tmp_path / "run")
    train(train_config("debug=profile", "trainer.max_epochs=2"), run)
    assert "ConvolutionBackward0" in (run.folder / "profile/table.txt").read_text()
    events = json.loads((run.folder / "profile/trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if event["name"].startswith("ProfilerStep#")}
    assert steps == {"ProfilerStep#3", "ProfilerStep#4", "ProfilerStep#5"}


def test_what_is_given_wins_over_the_debug_group():
    cfg = train_config("experiment=demo", "debug=limit", "trainer.limit_batches=3", small=False)
    assert (cfg.trainer.max_epochs, cfg.trainer.limit_batches, cfg.name) == (2, 3, "demo")
