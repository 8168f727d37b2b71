"""Callbacks and loggers named in the configuration."""

from __future__ import annotations

import csv
import sqlite3

import pytest
from pytorch_lightning.callbacks import Callback, Timer

from agnn_lit.config import ConfigError, check_train
from agnn_lit.shared.runs import Run
from agnn_lit.training.fit import train
from agnn_lit.training.parts import make_parts
from tests.configs import train_config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def epochs(run: Run) -> set[int]:
    with (run.folder / "metrics.csv").open() as file:
        return {int(float(row["epoch"])) for row in csv.DictReader(file)}


def test_tensorboard_has_the_metrics_and_the_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path / "run")
    cfg = train_config("logger=tensorboard", "logger.overlays=1")
    metrics = train(cfg, run)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert events.Scalars("val/J")[-1].value == pytest.approx(metrics["val/J"])
    assert len(events.Scalars("train/loss")) == len({e.step for e in events.Scalars("train/loss")}) > 1
    assert [name for name in events.Tags()["images"] if name.startswith("val/")]
    assert run.status["wandb_id"] is None


def test_mlflow_has_the_metrics(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = Run(tmp_path / "run")
    metrics = train(train_config("logger=mlflow", f"runs_dir={tmp_path}"), run)
    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        logged = base.execute("select value from metrics where key='val/J' order by step").fetchall()
        assert base.execute("select status from runs").fetchall() == [("FINISHED",)]
    base.close()
    assert logged[-1][0] == pytest.approx(metrics["val/J"])


def test_several_loggers_write_side_by_side(tmp_path):
    run = Run(tmp_path / "run")
    train(train_config("logger=[wandb,tensorboard]"), run)
    assert run.status["wandb_id"]
    for pattern in ("metrics.csv", "wandb/offline-run-*/*.wandb", "tensorboard/events.*"):
        assert list(run.folder.glob(pattern)), pattern


def test_training_stops_early(tmp_path):
    """The first score is above the threshold at which it may stop."""
    words = ("callbacks=early_stopping", "+callbacks.early_stopping.stopping_threshold=-1", "trainer.max_epochs=4")
    run = Run(tmp_path / "run")
    train(train_config(*words), run)
    assert (run.status["state"], epochs(run)) == ("done", {0})


def test_a_callback_of_ones_own(tmp_path):
    (timer,) = make_parts(
        "callbacks",
        {"timer": {"_target_": "pytorch_lightning.callbacks.Timer", "duration": {"minutes": 5}}},
        tmp_path,
        Callback,
    )
    assert isinstance(timer, Timer)
    assert timer.time_remaining() == 300
    run = Run(tmp_path / "run")
    train(train_config("+callbacks.timer._target_=pytorch_lightning.callbacks.Timer"), run)
    assert epochs(run) == {0, 1}


def test_the_run_folder_has_a_name_in_arguments(tmp_path):
    (made,) = make_parts(
        "logger.others", {"one": {"_target_": "builtins.dict", "a": {"b": ["<run>/b", 1]}}}, tmp_path, dict
    )
    assert made["a"]["b"] == [f"{tmp_path}/b", 1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.Mine", r"callbacks\.mine\._target_=nowhere\.Mine: .*No module named 'nowhere'"),
        ("builtins.dict", r"callbacks\.mine\._target_=builtins\.dict: must be a Callback of Lightning"),
        ("pytorch_lightning.callbacks.EarlyStopping", r"EarlyStopping: .*monitor"),
    ],
)
def test_what_is_no_callback_is_refused_before_the_run_begins(target, message, tmp_path):
    run = Run(tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        train(train_config(f"+callbacks.mine._target_={target}"), run)
    assert not run.folder.exists()


@pytest.mark.parametrize("group", ["callbacks", "logger.others"])
def test_a_class_must_be_named(group):
    with pytest.raises(ConfigError, match=rf"{group}\.mine: needs a class, such as \+{group}\.mine\._target_="):
        check_train(train_config(f"+{group}.mine.patience=3"))
