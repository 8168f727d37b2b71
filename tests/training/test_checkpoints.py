"""Runs that are killed, interrupted or broken, for real, and what continues from them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb

from agnn_lit.config import registry
from agnn_lit.model.backbones import tiny
from agnn_lit.shared.runs import Run, RunError
from agnn_lit.training import losses
from agnn_lit.training.checkpoints import Interruption, checkpoints
from agnn_lit.training.fit import train
from agnn_lit.training.module import NonFiniteLossError
from tests.configs import SMALL, train_config
from tests.data.disk import make_davis
from tests.training.processes import finish, killed, only_run
from tests.wandb_files import read_offline_run

#: Three epochs of four steps with a checkpoint after every step. One thread: on a busy machine, sums that two share
#: were seen to differ in the last bits between undisturbed runs.
WORDS = [*SMALL, "trainer.max_epochs=3", "trainer.checkpoint_minutes=0", "optim.schedule=poly", "trainer.threads=1"]


def checkpoint(run: Run, name: str = "last") -> dict:
    return torch.load(run.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def outcome(run: Run) -> tuple[dict[str, torch.Tensor], list[dict[str, str]]]:
    with (run.folder / "metrics.csv").open() as file:
        return checkpoint(run)["state_dict"], list(csv.DictReader(file))


def assert_equal_outcomes(one: Run, two: Run) -> None:
    (weights, rows), (others, other_rows) = outcome(one), outcome(two)
    assert weights.keys() == others.keys()
    for part in ("current_model_state", "averaging_state"):  # of a run with averaged weights
        ours, theirs = (checkpoint(run).get(part, {}) for run in (one, two))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    apart = {k: (weights[k] - others[k]).abs().max().item() for k in weights if not torch.equal(weights[k], others[k])}
    assert not apart
    assert rows == other_rows
    best, other_best = checkpoint(one, "best"), checkpoint(two, "best")
    assert all(torch.equal(v, other_best["state_dict"][k]) for k, v in best["state_dict"].items())
    ours, theirs = checkpoint(one)["optimizer_states"][0]["state"], checkpoint(two)["optimizer_states"][0]["state"]
    assert all(torch.equal(value, theirs[k][name]) for k, entry in ours.items() for name, value in entry.items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """The run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    code, said = finish(folder, *WORDS, "name=x")
    assert code == 0, said
    return only_run(folder)


@pytest.mark.long
@pytest.mark.parametrize("at", [1, 3, 4, 6, 11], ids=lambda n: f"step {n}")
def test_a_killed_run_continues_to_the_same_bits(whole, tmp_path, at):
    assert killed(tmp_path, at, signal.SIGKILL, *WORDS, "name=x")[0] == -signal.SIGKILL
    run = only_run(tmp_path)
    assert run.status["state"] == "running"
    # Steps are counted when done; at the end of an epoch of 4 the checkpoint is the epoch's.
    assert checkpoint(run)["global_step"] == at
    code, said = finish(tmp_path, f"run={run.folder}")
    assert code == 0, said
    assert "continued from" in said
    assert_equal_outcomes(whole, run)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_stopped_run_continues_its_wandb_run(tmp_path):
    """The offline W&B run of a continued run has the rows of an undisturbed one.

    A run that was asked to end has each row once. One that was killed may have the steps that are trained again twice,
    with the same values, and may lack the last 32 KiB that W&B had not yet written; ``metrics.csv`` has them.

    W&B's own process, which belongs to the process that starts these, is not theirs: with it, relative paths would
    be another folder's, and the run of a killed process would stay in use.
    """
    wandb.teardown()  # what an earlier test had left
    wandb.setup().ensure_service()
    assert os.environ["WANDB_SERVICE"]
    words = [w for w in WORDS if w not in ("logger=none", "trainer.checkpoint_minutes=0")] + ["logger.mode=offline"]
    found, rows = {}, {}
    for by in (None, signal.SIGTERM, signal.SIGKILL):
        folder = tmp_path / str(by)
        folder.mkdir()
        if by is None:
            code, said = finish(folder, *words)
        else:
            assert killed(folder, 6, by, *words)[0] == (-by if by == signal.SIGKILL else 128 + by)
            assert checkpoint(only_run(folder))["global_step"] == (4 if by == signal.SIGKILL else 7)
            code, said = finish(folder, f"run={only_run(folder).folder}")
        assert code == 0, said
        run = only_run(folder)
        read = read_offline_run(run.folder)
        assert read["ids"] == {run.status["wandb_id"]}
        names = ("train/loss", "val/J", "val/F", "lr/graph")
        found[by] = sorted((r["trainer/global_step"], k, r[k]) for r in read["history"] for k in names if k in r)
        rows[by] = outcome(run)[1]
    whole, ended, cut = found.values()
    assert len(whole) == 2 * 12 + 2 * 3
    assert ended == whole
    assert set(cut) <= set(whole)  # steps that are there twice have the same values
    assert {row for row in whole if row[0] >= 4} <= set(cut)
    assert {step for step, _, _ in Counter(cut) - Counter(whole)} <= {4, 5}
    assert rows[signal.SIGKILL] == rows[signal.SIGTERM] == rows[None]


@pytest.mark.long
def test_a_run_killed_again_and_again(whole, tmp_path):
    words = [*WORDS, "name=x"]
    for at in (2, 3, 5, 9):
        assert killed(tmp_path, at, signal.SIGKILL, *words)[0] == -signal.SIGKILL
        words = [f"run={only_run(tmp_path).folder}"]
    assert finish(tmp_path, *words)[0] == 0
    assert_equal_outcomes(whole, only_run(tmp_path))


@pytest.mark.long
def test_without_checkpoints_within_epochs_the_epoch_is_done_again(whole, tmp_path):
    words = [*(w for w in WORDS if "minutes" not in w), "trainer.checkpoint_minutes=null", "name=x"]
    assert killed(tmp_path, 6, signal.SIGKILL, *words)[0] == -signal.SIGKILL
    run = only_run(tmp_path)
    assert checkpoint(run)["global_step"] == 4
    assert finish(tmp_path, f"run={run.folder}")[0] == 0
    assert_equal_outcomes(whole, run)


@pytest.mark.long
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_signal_ends_the_run_after_its_step(whole, tmp_path, by):
    words = [w for w in WORDS if "minutes" not in w]  # the default: no checkpoint of its own in these seconds
    code, said = killed(tmp_path, 6, by, *words, "name=x")
    assert code == 128 + by, said
    run = only_run(tmp_path)
    assert f"interrupted; continue with: agnn-train run={run.folder.relative_to(tmp_path)}" in said
    assert "stopping after this step" in said
    assert run.status["state"] == "interrupted"
    assert checkpoint(run)["global_step"] == 7
    assert finish(tmp_path, f"run={run.folder}")[0] == 0
    assert_equal_outcomes(whole, run)


@pytest.mark.parametrize("to", ["elsewhere/deep/run", "renamed/run", "link/run", "a folder/läuft/run"])
def test_a_moved_run_remembers_its_best_score(tmp_path, to):
    """Moved, below a renamed folder, or reached by a symbolic link."""
    folder = tmp_path / "runs/run/checkpoints"
    folder.mkdir(parents=True)
    (folder / "best.ckpt").write_bytes(b"")
    before, last = checkpoints(folder, validated=True)
    before.best_model_score, before.kth_value = torch.tensor(0.9), torch.tensor(0.9)
    before.best_model_path = before.kth_best_model_path = str(folder / "best.ckpt")
    before.best_k_models = {str(folder / "best.ckpt"): torch.tensor(0.9)}
    assert "ModelCheckpoint" in before.state_key
    assert "LastCheckpoint" in last.state_key
    if to.startswith("link"):
        (tmp_path / "link").symlink_to(tmp_path / "runs")
    else:
        (tmp_path / to).parent.mkdir(parents=True)
        shutil.move(tmp_path / "runs/run", tmp_path / to)
    after, _ = checkpoints(tmp_path / to / "checkpoints", validated=True)
    assert after.state_key == before.state_key
    after.load_state_dict(before.state_dict())
    assert after.best_model_score == torch.tensor(0.9)
    best = tmp_path / to / "checkpoints/best.ckpt"
    assert after.best_model_path == after.kth_best_model_path == str(best.resolve())
    assert not after.check_monitor_top_k(
        SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool)), torch.tensor(0.8)
    )
    best.unlink()
    after, _ = checkpoints(tmp_path / to / "checkpoints", validated=True)
    after.load_state_dict(before.state_dict())
    assert (after.best_model_score, after.best_model_path, after.best_k_models) == (None, "", {})


@pytest.mark.long
def test_a_run_that_was_moved_is_continued_with_the_same_best_checkpoint(whole, tmp_path):
    (tmp_path / "before").mkdir()
    assert killed(tmp_path / "before", 9, signal.SIGTERM, *WORDS, "name=x")[0] == 128 + signal.SIGTERM
    run = only_run(tmp_path / "before")
    moved = tmp_path / "after" / run.folder.relative_to(tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")
    code, said = finish(tmp_path / "after", f"run={moved.relative_to(tmp_path / 'after')}")
    assert code == 0, said
    assert "dirpath has changed" not in said
    assert_equal_outcomes(whole, Run(moved))


def test_of_several_processes_that_receive_a_signal_only_the_training_says_that_it_stops(tmp_path, capfd):
    interruption = Interruption(tmp_path / "last.ckpt")
    with interruption.listening(SimpleNamespace(_signal_connector=SimpleNamespace())):
        worker = os.fork()
        if worker == 0:
            signal.raise_signal(signal.SIGINT)
            os._exit(0)
        assert os.waitpid(worker, 0)[1] == 0
        assert interruption.received is None
        signal.raise_signal(signal.SIGINT)
    assert interruption.received == signal.SIGINT
    assert capfd.readouterr().err == "stopping after this step; a second signal stops at once\n"


@pytest.mark.long
def test_a_run_with_averaged_weights_continues_to_the_same_bits(tmp_path):
    """Killed or asked to end, within an epoch and at its end."""
    words = [*WORDS, "name=x", "trainer.ema=0.9", "trainer.channels_last=true", "loss=bce_iou"]
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    code, said = finish(tmp_path / "whole", *words)
    assert code == 0, said
    for at, by in ((2, signal.SIGKILL), (5, signal.SIGTERM), (8, signal.SIGKILL), (9, signal.SIGINT)):
        code = -by if by == signal.SIGKILL else 128 + by
        assert killed(tmp_path / "cut", at, by, *words)[0] == code
        words = [f"run={only_run(tmp_path / 'cut').folder}"]
    assert finish(tmp_path / "cut", *words)[0] == 0
    whole = only_run(tmp_path / "whole")
    assert checkpoint(whole)["averaging_state"]["n_averaged"] == 12
    assert_equal_outcomes(whole, only_run(tmp_path / "cut"))


@pytest.mark.parametrize("words", ["trainer.ema=null", "trainer.ema=0.9"])
def test_dropout_is_a_function_of_seed_and_step(tmp_path, monkeypatch, words):
    """A network with dropout continues to the same bits, too."""

    class Dropping(tiny.TinyEncoder):
        def forward(self, images):
            return torch.nn.functional.dropout2d(super().forward(images), 0.3, self.training)

    monkeypatch.setitem(registry._parts, ("backbone.name", "tiny"), Dropping)
    runs = [Run(tmp_path / name) for name in ("whole", "parts")]
    cfg = train_config("trainer.max_epochs=2", "trainer.checkpoint_minutes=0", words)
    train(cfg, runs[0])

    class StopError(Exception):
        pass

    step = torch.optim.AdamW.step
    count = iter(range(100))

    def stopping(self, *args, **kwargs):
        if next(count) == 5:
            raise StopError
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", stopping)
    with pytest.raises(StopError):
        train(cfg, runs[1])
    torch.rand(3)  # whatever else the process draws
    train(cfg, Run(runs[1].folder))
    assert_equal_outcomes(*runs)


def test_a_loss_that_is_no_number_stops_the_run_and_names_its_clips(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    cfg = train_config("trainer.checkpoint_minutes=0", "trainer.max_epochs=2")
    calls = iter(range(1000))
    real = losses.weighted_bce

    def breaking(logits, target, **how):
        return real(logits, target, **how) * (float("nan") if next(calls) == 6 else 1.0)

    monkeypatch.setattr(losses, "weighted_bce", breaking)
    with pytest.raises(NonFiniteLossError) as caught:
        train(cfg, run)
    said = str(caught.value)
    assert said.startswith("the loss is nan at step 6 (epoch 1, batch 2), of clips:\n")
    assert len(re.findall(r"\n  \S+: frames \d+, \d+, \d+", said)) == 2
    assert "optim.lr" in said
    assert run.status["state"] == "failed"
    assert "NonFiniteLossError" in run.status["error"]
    assert checkpoint(run)["global_step"] == 6
    assert all(np.isfinite(v.numpy()).all() for v in checkpoint(run)["state_dict"].values())


@pytest.mark.long
def test_a_torn_checkpoint_is_refused_and_the_earlier_one_survives_a_full_disk(tmp_path, monkeypatch):
    run = Run(tmp_path / "run")
    train(train_config("trainer.max_epochs=1"), run)
    good = run.last.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    run.update(state="interrupted")
    with pytest.raises(OSError, match="No space left"):
        train(train_config("trainer.max_epochs=2"), Run(run.folder))
    assert run.last.read_bytes() == good
    assert not list((run.folder / "checkpoints").glob(".*"))
    monkeypatch.undo()
    run.last.write_bytes(good[: len(good) // 2])
    code, said = finish(tmp_path, f"run={run.folder}")
    assert code == 2
    assert "agnn-train: run/checkpoints/last.ckpt: cannot resume from it (" in said
    assert "Traceback" not in said


#: On a disk of $1 bytes, which is then made larger; what it holds in the end is copied away.
SMALL_DISK = """
mkdir disk && mount -t tmpfs -o size=$1 none disk && mkdir disk/w && cd disk/w && shift || exit 99
"$PYTHON" -m agnn_lit.train "$@" 2> ../../said; echo $? > ../../code
cp runs/agnn/x/checkpoints/last.ckpt ../../kept.ckpt; find runs/agnn/x/checkpoints -name '.*' > ../../partial
mount -o remount,size=64m ../../disk && "$PYTHON" -m agnn_lit.train run=runs/agnn/x 2>> ../../said; code=$?
cp -r runs/agnn/x ../../x; exit $code
"""
UNSHARE = ["unshare", "--map-root-user", "--mount"]


@pytest.mark.long
def test_a_run_on_a_disk_that_is_full_ends_with_what_to_do_and_continues_on_a_larger_one(whole, tmp_path):
    can = ["sh", "-c", f"mount -t tmpfs none {tmp_path}"]
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, *can], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own")
    room = int(2.5 * whole.last.stat().st_size) + 100_000  # best and last, and no third one to replace them
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", SMALL_DISK, "sh", str(room), *WORDS, "name=x", "hydra.run.dir=runs/agnn/x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    said = (tmp_path / "said").read_text()
    assert done.returncode == 0, said
    assert (tmp_path / "code").read_text() == "1\n"
    assert "agnn-train: [Errno 28] No space left on device" in said
    assert "files are kept; fix this, then continue with: agnn-train run=runs/agnn/x" in said
    assert "Traceback" not in said
    assert not (tmp_path / "partial").read_text()
    kept = torch.load(tmp_path / "kept.ckpt", weights_only=True)
    assert 1 <= kept["global_step"] < 12
    assert_equal_outcomes(whole, Run(tmp_path / "x"))


def test_out_of_memory_says_what_takes_less(tmp_path, monkeypatch):
    def none_left(*args, **kwargs):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"
        )

    monkeypatch.setattr(losses, "weighted_bce", none_left)
    run = Run(tmp_path / "run")
    with pytest.raises(RunError) as caught:
        train(train_config("clips.batch_size=2", "model.rounds=3"), run)
    said = str(caught.value)
    for line in (
        "out of memory at clips.batch_size=2, model.frames=3, clips.size=[32, 32]: [enforce",
        "clips.batch_size=1               50% of the activations",
        "precision=bf16                   about half",
        "model.checkpoint_rounds=true     1/3 of the graph's part",
        "model.frames=2                   67%",
        "clips.size=[22,22]               49%",
        "trainer.accumulate=2 keeps the global batch size when clips.batch_size is halved",
    ):
        assert line in said
    assert run.status["state"] == "failed"


#: Damages all frames once they are checked.
DAMAGER = """
import sys
from collections import Counter
from pathlib import Path
import agnn_lit.training.fit as t
check = t.open_training_videos
def open_training_videos(cfg):
    found = check(cfg)
    for file in Path(cfg.data.root).rglob("*.jpg"):
        file.write_bytes(file.read_bytes()[:200])
    return found
t.open_training_videos = open_training_videos
from agnn_lit.commands.train import main
main()
"""


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 1])
def test_a_frame_that_cannot_be_read_any_more_is_one_line(tmp_path, workers):
    root = make_davis(tmp_path / "DAVIS")
    words = [*SMALL, "data=davis2016", f"data.root={root}", "data.train_split=train", "clips.val_share=0", "name=x"]
    code, said = finish(tmp_path, *words, f"clips.workers={workers}", program=("-c", DAMAGER))
    assert code == 2, said
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"agnn-train: {root}/JPEGImages/480p/"), said
    assert last.endswith(".jpg: cannot be read as an image")
    assert "Traceback" not in said
    assert only_run(tmp_path).status["state"] == "failed"
