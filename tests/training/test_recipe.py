"""The recipe davis16_lite at a small size: both stages, repeated and continued to the same weights."""

from __future__ import annotations

import csv
import signal

import pytest
import torch

from agnn_lit.shared.runs import Run
from agnn_lit.training.fit import train
from tests.configs import train_config
from tests.data.disk import make_davis, make_photos
from tests.training.processes import killed

#: Twenty steps on small frames, from random weights.
SMALL = (
    "backbone.weights=null",
    "clips.size=[32,48]",
    "clips.workers=0",
    "clips.val_share=0.25",
    "trainer=cpu",
    "trainer.threads=1",
    "trainer.max_epochs=2",
    "trainer.progress=false",
    "trainer.log_every=1",
    "trainer.checkpoint_minutes=null",
    "logger=none",
)


def states(run: Run) -> dict[str, torch.Tensor]:
    """Averaged weights, and those that training continues from."""
    content = torch.load(run.last, weights_only=True)
    return {**content["state_dict"], **{f"current.{k}": v for k, v in content["current_model_state"].items()}}


def same(a: Run, b: Run) -> bool:
    first, second = states(a), states(b)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.long
def test_both_stages_repeat_and_continue_to_the_same_weights(tmp_path, monkeypatch):
    roots = [make_photos(tmp_path / "few", 30), make_photos(tmp_path / "many", 80)]
    monkeypatch.setenv("AGNN_STATIC_ROOTS", f"[{roots[0]},{roots[1]}]")
    monkeypatch.setenv("AGNN_DAVIS_ROOT", str(make_davis(tmp_path / "davis", val=1)))
    photos = Run(tmp_path / "photos")
    train(train_config("experiment=davis16_lite_photos", *SMALL, "optim.warmup_steps=0", small=False), photos)
    with (photos.folder / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])

    words = (*SMALL, f"model.weights={photos.best}", "clips.clips_per_video=10")
    whole, again = Run(tmp_path / "whole"), Run(tmp_path / "again")
    cfg = train_config("experiment=davis16_lite", *words, small=False)
    train(cfg, whole)
    assert torch.load(whole.last, weights_only=True)["global_step"] == 20
    train(cfg, again)
    assert same(whole, again)

    code, error = killed(
        tmp_path, 13, signal.SIGKILL, "experiment=davis16_lite", *words, "trainer.checkpoint_minutes=0"
    )
    assert code == -signal.SIGKILL, error
    (folder,) = (tmp_path / "runs/davis16_lite").iterdir()
    parts = Run(folder)
    assert torch.load(parts.last, weights_only=True)["global_step"] == 13
    train(parts.load_config(), parts)
    assert same(whole, parts)
