"""Training end to end, through the code that the command runs."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest
import torch
from PIL import Image

from agnn_lit.commands.train import _prepare
from agnn_lit.config import ConfigError
from agnn_lit.data.video import DataError
from agnn_lit.inference.evaluation import evaluate
from agnn_lit.shared.runs import Run, RunError
from agnn_lit.training.build import build_module
from agnn_lit.training.fit import train
from tests.command import PATIENCE, call_command, run_command, wait_for
from tests.configs import SMALL, evaluate_config, train_config
from tests.data.disk import make_davis, make_folder, make_youtube_objects


def weights(run: Run, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def rows(run: Run) -> list[dict[str, str]]:
    with (run.folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def validated(run: Run, *overrides: str, checkpoint: str = "last") -> dict[str, Any]:
    """Summary of ``agnn-evaluate`` on the held-out videos, which training has scored by itself."""
    name = f"ckpt='{run.folder}/checkpoints/{checkpoint}.ckpt'"
    words = ("split=val", "dtype=fp32", "overlays=0", f"out='{run.folder}/held-out-{checkpoint}'")
    return evaluate(evaluate_config(name, *words, *overrides))[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_what_it_promises(trained):
    assert {"config.yaml", "metrics.csv", "status.json", "checkpoints", "overlays"} <= {
        p.name for p in trained.folder.iterdir()
    }
    assert {p.name for p in (trained.folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len(list((trained.folder / "overlays").glob("*.jpg"))) == 2
    status = trained.status
    assert status["state"] == "done"
    assert status["parameters"] > 1000
    assert status["versions"]["torch"] == torch.__version__
    assert trained.load_config() == train_config()
    logged = rows(trained)
    assert {"train/loss", "lr/graph", "lr/backbone"} <= set(logged[0])
    assert sum(bool(row["train/loss"]) for row in logged) == 8  # 2 epochs of 4 batches
    scored = [row for row in logged if row["val/J"]]
    assert len(scored) == 2
    last, best = validated(trained), validated(trained, checkpoint="best")
    for name in "JF":
        assert float(scored[1][f"val/{name}"]) == pytest.approx(last[f"{name}_mean"], abs=1e-3)
    assert max(float(row["val/J"]) for row in scored) == pytest.approx(best["J_mean"], abs=1e-3)


def test_the_scores_of_a_validation_are_those_of_the_evaluation(tmp_path):
    """Of a model that has begun to tell objects apart: before that, every pixel is foreground at any threshold."""
    run = Run(tmp_path / "run")
    words = ("optim.lr=0.02", "trainer.max_epochs=8", "trainer.check_val_every=8")
    metrics = train(train_config(*words), run)
    summary = validated(run)
    assert summary["F_mean"] > 0.02
    for name, key in (("J", "J_mean"), ("F", "F_mean"), ("T", "T")):
        assert metrics[f"val/{name}"] == pytest.approx(summary[key], abs=5e-3)


def test_the_learning_rate_decays_to_the_end(trained):
    rates = [float(row["lr/graph"]) for row in rows(trained) if row["lr/graph"]]
    expected = [1e-3 * (1 - step / 8) ** 0.9 for step in range(8)]
    assert rates == pytest.approx(expected, rel=1e-5)


def test_two_runs_with_one_seed_give_identical_weights_and_numbers(trained, tmp_path):
    again, other = Run(tmp_path / "again"), Run(tmp_path / "other")
    train(train_config(), again)
    assert same(weights(trained), weights(again))
    assert rows(trained) == rows(again)
    train(train_config("seed=1"), other)
    assert not same(weights(trained), weights(other))


def test_loader_processes_do_not_change_the_result(trained, tmp_path):
    run = Run(tmp_path / "workers")
    train(train_config("clips.workers=1"), run)
    assert same(weights(trained), weights(run))


@pytest.mark.parametrize("words", ["clips.workers=0", "clips.workers=1", "trainer.channels_last=true"])
def test_an_interrupted_run_continues_to_the_same_weights(tmp_path, words):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    common = ("optim.schedule=constant", words)
    constant = (*common, "trainer.max_epochs=3")
    train(train_config(*constant), whole)
    train(train_config(*common, "trainer.max_epochs=1"), parts)
    assert not same(weights(whole), weights(parts))
    train(train_config(*constant), Run(parts.folder))
    assert same(weights(whole), weights(parts))
    assert rows(whole) == rows(parts)


def test_without_held_out_videos_best_is_the_last(tmp_path):
    run = Run(tmp_path)
    train(train_config("clips.val_share=0"), run)
    assert same(weights(run, "best"), weights(run, "last"))
    assert "val/J" not in rows(run)[0]
    seldom = Run(tmp_path / "seldom")
    train(train_config("clips.val_share=0", "trainer.check_val_every=5"), seldom)
    assert same(weights(seldom, "best"), weights(run, "last"))


#: Parameters that have no part in the loss of one frame a graph.
WITHOUT_NEIGHBOURS = {"line_edge.weight"}


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=bf16",),
        ("model.rounds=0",),
        (
            "model.loop_edge=encoder",
            "model.line_edge=directed",
            "model.gate=spatial",
            "model.aggregation=concat",
        ),
        ("model=agnn_official", "model.rounds=2"),
        ("model.update=replace", "model.gate=none", "model.loop_edge=none", "model.aggregation=mean"),
        ("model.update=gru1x1", "model.readout=bn", "optim=sgd", "loss.reduction=sum"),
        ("model.frames=1",),
        ("trainer.accumulate=2", "trainer.gradient_clip=0.5", "clips.clips_per_video=2"),
    ],
    ids=" ".join,
)
def test_every_axis_trains(overrides, tmp_path, monkeypatch):
    """Each parameter moves, and what the training says of held-out videos is what the evaluation says."""
    initial = {}

    def building(*args, **more):
        module = build_module(*args, **more)
        initial.update({name: p.detach().clone() for name, p in module.model.named_parameters() if p.requires_grad})
        return module

    monkeypatch.setattr("agnn_lit.training.build.build_module", building)
    run = Run(tmp_path)
    metrics = train(train_config("trainer.max_epochs=1", *overrides), run)
    assert math.isfinite(metrics["train/loss"])
    trained = weights(run)
    still = {name for name, value in initial.items() if torch.equal(value, trained[f"model.{name}"])}
    assert still == (WITHOUT_NEIGHBOURS if "model.frames=1" in overrides else set())
    dtype = ("dtype=bf16",) if "precision=bf16" in overrides else ()
    assert metrics["val/J"] == pytest.approx(validated(run, *dtype)["J_mean"], abs=5e-3)


def test_davis_and_folders_train(tmp_path):
    make_davis(tmp_path / "davis")
    make_folder(tmp_path / "folder")
    common = ("trainer.max_epochs=1", "clips.val_share=0.4", "clips.scale=[0.7,1.3]")
    for number, data in enumerate(
        (f"data=davis2016,data.root={tmp_path}/davis", f"data=folder,data.root={tmp_path}/folder")
    ):
        run = Run(tmp_path / f"run{number}")
        metrics = train(train_config(*common, *data.split(",")), run)
        summary = validated(run)
        assert metrics["val/J"] == pytest.approx(summary["J_mean"], abs=1e-3)
        assert (summary["sequences"], summary["frames"]) == (1, 5 if number == 0 else 4)


def test_the_reported_split_is_never_opened_for_training(tmp_path):
    """Model selection holds videos out of the training list; the test list may even be broken."""
    root = make_davis(tmp_path / "davis")
    for file in (root / "JPEGImages" / "480p" / "dog").iterdir():
        file.unlink()
    cfg = train_config("trainer.max_epochs=1", "data=davis2016", f"data.root={root}", "clips.val_share=0.4")
    train(cfg, Run(tmp_path / "run"))
    assert not any("dog" in p.name for p in (tmp_path / "run" / "overlays").iterdir())


def test_broken_data_stops_before_training(tmp_path):
    root = make_davis(tmp_path / "davis")
    (root / "Annotations" / "480p" / "bear" / "00001.png").unlink()
    run = Run(tmp_path / "run")
    with pytest.raises(DataError, match=r"bear/00001\.png: missing"):
        train(train_config("data=davis2016", f"data.root={root}"), run)
    assert not run.folder.exists()


def test_videos_without_masks_cannot_be_trained_on(tmp_path):
    root = make_folder(tmp_path / "set")
    cfg = train_config("data=folder", f"data.root={root / 'images'}")
    with pytest.raises(DataError, match="0 annotated frames"):
        train(cfg, Run(tmp_path / "run"))


def test_a_failure_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr("agnn_lit.training.build.build_module", lambda *a, **k: 1 / 0)
    run = Run(tmp_path)
    with pytest.raises(ZeroDivisionError):
        train(train_config(), run)
    assert run.status["state"] == "failed"
    assert "ZeroDivisionError" in run.status["error"]


def test_the_same_command_again_does_nothing_and_another_config_is_refused(trained, capsys):
    assert _prepare(train_config(), trained, []) is None
    assert "already trained" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"seed: 0 -> 1"):
        _prepare(train_config("seed=1"), trained, [])


def test_run_continues_as_configured_and_takes_nothing_else(trained, tmp_path):
    cfg = train_config(f"run={trained.folder}")
    assert _prepare(cfg, trained, [f"run={trained.folder}"]) is None  # it is done
    stopped = Run(shutil.copytree(trained.folder, tmp_path / "stopped"))
    stopped.update(state="interrupted")
    assert _prepare(cfg, stopped, [f"run={stopped.folder}"]) == train_config()
    with pytest.raises(ConfigError, match="leave out seed=3"):
        _prepare(cfg, stopped, [f"run={stopped.folder}", "seed=3"])


def test_run_must_be_a_run(tmp_path):
    with pytest.raises(ConfigError, match="no such run"):
        _prepare(train_config(f"run={tmp_path}"), Run(tmp_path), [f"run={tmp_path}"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"no config\.yaml in it"):
        _prepare(train_config(f"run={tmp_path}"), Run(tmp_path), [f"run={tmp_path}"])


def test_a_run_shorter_than_its_validation_interval_is_validated_at_its_end(tmp_path):
    metrics = train(train_config("trainer.max_epochs=1", "trainer.check_val_every=3"), Run(tmp_path / "run"))
    assert "val/J" in metrics


def test_the_last_epoch_is_validated_too(tmp_path):
    run = Run(tmp_path / "run")
    train(train_config("trainer.max_epochs=3", "trainer.check_val_every=2"), run)
    assert [int(row["epoch"]) for row in rows(run) if row["val/J"]] == [1, 2]


def test_a_step_of_several_batches_logs_their_mean_and_an_epoch_has_whole_steps(tmp_path):
    """Nine clips in batches of two are four batches: with three a step, one is left out."""
    words = ("clips.val_share=0", "data.synthetic.train_videos=9", "trainer.max_epochs=1", "optim.lr=1e-30")
    single, several = Run(tmp_path / "single"), Run(tmp_path / "several")
    train(train_config(*words), single)
    train(train_config(*words, "trainer.accumulate=3"), several)
    apart = [float(row["train/loss"]) for row in rows(single) if row["train/loss"]]
    (together,) = (float(row["train/loss"]) for row in rows(several) if row["train/loss"])
    assert len(apart) == 4
    assert together == pytest.approx(sum(apart[:3]) / 3, rel=1e-5)
    with pytest.raises(ConfigError, match=r"trainer.accumulate=5: an epoch has 4 batches"):
        train(train_config(*words, "trainer.accumulate=5"), Run(tmp_path / "more"))


def test_what_a_test_needs_is_looked_at_before_the_training(tmp_path):
    root = make_davis(tmp_path / "DAVIS")
    run = Run(tmp_path / "run")
    words = ("data=davis2016", f"data.root={root}", "data.test_split=nope", "test=true")
    with pytest.raises(DataError, match=r"nope\.txt: no such split"):
        train(train_config(*words), run)
    assert not run.folder.exists()


def test_a_loss_that_cannot_be_taken_is_a_sentence(tmp_path, monkeypatch):
    from agnn_lit.training import losses

    monkeypatch.setattr(losses, "weighted_bce", lambda *a, **k: losses.foreground_weight(torch.ones(1, 4, 4), k["eta"]))
    with pytest.raises(RunError, match=r"loss.eta=literal: an object fills 100.0% of its frame"):
        train(train_config("loss.eta=literal"), Run(tmp_path / "run"))
    assert Run(tmp_path / "run").status["state"] == "failed"


def test_one_video_cannot_be_held_out_of_itself(tmp_path):
    with pytest.raises(ConfigError, match="holds out validation videos, but there are only 1"):
        train(train_config("data.synthetic.train_videos=1"), Run(tmp_path / "run"))


def test_overwrite_clears_runs_and_nothing_else(tmp_path):
    run = Run(tmp_path / "run")
    train(train_config("trainer.max_epochs=1"), run)
    assert _prepare(train_config("overwrite=true"), run, []) is not None
    assert not any(run.folder.iterdir())
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="left alone"):
        _prepare(train_config("overwrite=true"), Run(tmp_path), [])
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_command_trains_repeats_and_continues(tmp_path):
    words = [*SMALL, "trainer.max_epochs=1", "name=try", "trainer.progress=true"]
    first = run_command("train", *words, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "epoch 1/1" in first.stdout
    (folder,) = (p.parent for p in tmp_path.rglob("status.json"))
    assert folder.parent == tmp_path / "runs" / "try"
    assert "already trained" in call_command("train", *words, cwd=tmp_path).stdout
    before = (folder / "status.json").read_text()
    assert "already trained" in call_command("train", f"run={folder.relative_to(tmp_path)}", cwd=tmp_path).stdout
    assert (folder / "status.json").read_text() == before
    assert len(list(tmp_path.rglob("status.json"))) == 1


def epochs(run: Run) -> int:
    return torch.load(run.last, weights_only=True)["epoch"] + 1


@pytest.mark.long
def test_ctrl_c_ends_cleanly_and_the_run_continues(tmp_path):
    words = [*SMALL, "trainer.max_epochs=400", "optim.schedule=constant", "name=x"]
    with subprocess.Popen(
        [sys.executable, "-m", "agnn_lit.commands.train", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            wait_for(lambda: list(tmp_path.rglob("last.ckpt")), child)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=PATIENCE)
        finally:
            child.kill()  # which does nothing to one that has ended
    (last,) = tmp_path.rglob("last.ckpt")
    run = Run(last.parent.parent)
    assert child.returncode == 130, said
    assert f"interrupted; continue with: agnn-train run={run.folder.relative_to(tmp_path)}" in said
    assert run.status["state"] == "interrupted"
    config = run.folder / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 400", f"max_epochs: {epochs(run) + 1}"))
    resumed = run_command("train", f"run={run.folder}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "continued from" in resumed.stdout
    assert Run(run.folder).status["state"] == "done"


def test_youtube_objects_trains_with_its_own_protocol(tmp_path):
    root = make_youtube_objects(tmp_path / "yto", length=31)
    file = root / "Annotations" / "cat" / "0001" / "00010.png"
    with Image.open(file) as mask:
        small = mask.resize((32, 24))
    small.save(file)
    words = ("data=youtube_objects", f"data.root={root}", "clips.val_share=0.5", "clips.batch_size=1")
    run = Run(tmp_path / "run")
    metrics = train(train_config(*words, "trainer.max_epochs=1"), run)
    assert metrics["val/J"] == pytest.approx(validated(run)["J_mean"], abs=1e-3)
    assert "val/T" not in metrics  # not counted there
    summary, out = evaluate(evaluate_config(f"run={run.folder}"))
    assert out.name == "youtube_objects-test-youtube_objects"
    assert summary["frames_resized"] == 1
    assert summary["frames"] + summary["frames_left_out"] == 8


def test_a_wrong_setting_is_one_line_and_leaves_no_folder(tmp_path):
    done = call_command("train", "backbone=tiny", "data=synthetic", "model.rounds=-2", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "agnn-train: model.rounds=-2: must be 0 or more"
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.long
def test_multirun_gives_a_folder_a_value(tmp_path):
    words = (
        "backbone=tiny",
        "data=synthetic",
        "trainer=cpu",
        "logger=none",
        "trainer.max_epochs=1",
        "name=rounds",
    )
    tiny = ("model.channels=8", "clips.size=[16,16]", "clips.workers=0", "data.synthetic.train_videos=4")
    done = run_command("train", "-m", *words, *tiny, "model.rounds=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    states = {p.parent.name: json.loads(p.read_text())["state"] for p in tmp_path.rglob("status.json")}
    assert len(states) == 2
    assert set(states.values()) == {"done"}
    assert {"model.rounds-0" in name for name in states} == {True, False}
