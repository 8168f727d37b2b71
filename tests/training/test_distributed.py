"""Several processes that train together, for real: on the CPU, over gloo."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from agnn_lit.model.build import build_backbone
from agnn_lit.shared.processes import is_first_process
from agnn_lit.shared.runs import Run
from agnn_lit.training.distributed import CpuBatchNormSync, GpuBatchNormSync, SyncedBatchNorm, trainer_options
from tests.configs import SMALL, train_config
from tests.training.processes import KILLER, finish, killed, only_run

WORDS = [*(w for w in SMALL if "val_share" not in w), "clips.val_share=0.3", "optim.schedule=poly", "trainer.threads=1"]


def curve(run: Run, name: str) -> list[float]:
    with (run.folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.last, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Run:
    """One process with the batch of two."""
    folder = tmp_path_factory.mktemp("alone")
    code, said = finish(folder, *WORDS, "clips.batch_size=2")
    assert code == 0, said
    return only_run(folder)


def apart(one: Run, two: Run) -> float:
    """Largest relative difference of two loss curves."""
    pairs = zip(curve(one, "train/loss"), curve(two, "train/loss"), strict=True)
    return max(abs(a - b) / b for a, b in pairs)


def assert_alike(one: Run, two: Run) -> None:
    assert apart(one, two) < 1e-5
    for name in ("val/J", "val/F", "val/T", "lr/graph"):
        assert curve(one, name) == pytest.approx(curve(two, name), rel=1e-3, abs=1e-5), name
    ours, theirs = weights(one), weights(two)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-2, atol=2e-4, msg=name)


@pytest.mark.long
def test_two_processes_give_the_curve_of_one_with_the_same_batch(alone, tmp_path):
    code, said = finish(tmp_path, *WORDS, "clips.batch_size=1", "trainer.devices=2")
    assert code == 0, said
    run = only_run(tmp_path)
    assert run.status["state"] == "done"
    assert said.count("held-out videos") == 1, "the first process alone reports"
    assert len(curve(run, "train/loss")) == 6
    assert_alike(alone, run)


@pytest.mark.long
@pytest.mark.parametrize("words", [("precision=bf16",), ("model.frames=1",)], ids=str)
def test_two_processes_train_in_half_precision_and_without_neighbours(tmp_path, words):
    more = ("clips.batch_size=1", "trainer.devices=2", "trainer.max_epochs=1", *words)
    code, said = finish(tmp_path, *WORDS, *more)
    assert code == 0, said
    run = only_run(tmp_path)
    assert run.status["state"] == "done"
    assert all(tensor.dtype is not torch.bfloat16 for tensor in weights(run).values())


@pytest.mark.long
def test_without_common_statistics_the_curve_is_another(alone, tmp_path):
    """What the test above would see if batch normalisation were left alone."""
    words = ["clips.batch_size=1", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    code, said = finish(tmp_path, *WORDS, *words)
    assert code == 0, said
    assert apart(only_run(tmp_path), alone) > 1e-3


@pytest.mark.long
def test_two_nodes_are_two_processes_of_one_run(alone, tmp_path):
    """Started by hand on each node; both are here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    command = [
        sys.executable,
        "-m",
        "agnn_lit.commands.train",
        *WORDS,
        "clips.batch_size=1",
        "trainer.nodes=2",
        "name=x",
    ]
    nodes = [
        subprocess.Popen(
            command, cwd=tmp_path, env={**env, "NODE_RANK": k}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for k in "01"
    ]
    said = [node.communicate(timeout=300)[0].decode() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)
    assert_alike(alone, only_run(tmp_path))


@pytest.mark.long
def test_a_signal_to_one_process_ends_all_and_the_run_continues(alone, tmp_path):
    words = [*WORDS, "clips.batch_size=1", "trainer.devices=2"]
    killer = KILLER.replace("if self.global_step ==", "if self.global_rank == 0 and self.global_step ==")
    # By then the other process waits for this one's batch statistics.
    killer = killer.replace("        os.kill", "        import time; time.sleep(2)\n        os.kill")
    assert "sleep" in killer
    script = tmp_path / "killer.py"  # a file: Lightning starts it again for the second process
    script.write_text(killer)
    code, said = killed(tmp_path, 1, signal.SIGTERM, *words, program=(str(script),))
    assert code == 128 + signal.SIGTERM, said
    run = only_run(tmp_path)
    assert run.status["state"] == "interrupted"
    assert torch.load(run.last, weights_only=True)["global_step"] == 2
    code, said = finish(tmp_path, f"run={run.folder}")
    assert code == 0, said
    assert_alike(alone, run)


#: A site module whose second process fails at a step, alone.
BROKEN = """
import agnn_lit.training.module as m
from agnn_lit.data.video import DataError
step = m.AGNNModule.training_step
def training_step(self, batch, batch_idx):
    if self.global_step == 2 and self.global_rank == 1:
        raise DataError("/data/00007.jpg: cannot be read as an image")
    return step(self, batch, batch_idx)
m.AGNNModule.training_step = training_step
from agnn_lit.commands.train import main
main()
"""


@pytest.mark.long
def test_a_process_that_fails_alone_ends_the_run_with_its_reason(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    words, program = [*WORDS, "clips.batch_size=1", "trainer.devices=2"], (str(tmp_path / "broken.py"),)
    code, said = finish(tmp_path, *words, program=program)
    assert code != 0
    assert "agnn-train: /data/00007.jpg: cannot be read as an image" in said
    assert "Traceback" not in said
    status = only_run(tmp_path).status
    assert status["state"] == "failed"
    assert "Traceback" in status["error"]


@pytest.mark.long
def test_the_runs_of_a_sweep_may_have_several_devices(tmp_path):
    code, said = finish(tmp_path, "-m", *SMALL, "trainer.devices=2", "trainer.max_epochs=1", "seed=0,1")
    assert code == 0, said
    logs = [p.read_text() for p in tmp_path.rglob("output.log")]
    assert len(logs) == 2
    assert len(list(tmp_path.rglob("last.ckpt"))) == 2


def test_batch_normalisation_alone_is_torchs():
    torch.manual_seed(0)
    frames = torch.randn(4, 3, 5, 6)
    plain = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    expected = plain(frames)
    changed = CpuBatchNormSync().apply(plain)
    assert type(changed[1]) is SyncedBatchNorm
    torch.testing.assert_close(changed(frames), expected)
    assert type(CpuBatchNormSync().revert(changed)[1]) is nn.BatchNorm2d


@pytest.mark.parametrize("sync", [CpuBatchNormSync, GpuBatchNormSync])
def test_synchronised_normalisations_of_timm_keep_their_activation(sync):
    torch.manual_seed(0)
    encoder = build_backbone("timm", 8, model="tf_efficientnet_lite0").eval()
    kinds = [type(part) for part in encoder.modules()]
    frames = torch.randn(2, 3, 32, 32)
    expected = encoder(frames)
    changed = sync().apply(encoder)
    assert not {nn.BatchNorm2d, BatchNormAct2d} & {type(part) for part in changed.modules()}
    torch.testing.assert_close(changed(frames), expected)
    reverted = sync().revert(changed)
    assert [isinstance(part, BatchNormAct2d) for part in reverted.modules()] == [k is BatchNormAct2d for k in kinds]
    torch.testing.assert_close(reverted.eval()(frames), expected)


@pytest.mark.parametrize(
    ("words", "strategy"),
    [
        ((), "auto"),
        (("trainer.devices=2",), "ddp"),
        (("trainer.nodes=2",), "ddp"),
        (("trainer.devices=2", "model.auxiliary=true"), "ddp"),
        (("trainer.devices=2", "model.auxiliary=true", "static.every=3"), "ddp_find_unused_parameters_true"),
        (("trainer.devices=2", "trainer.strategy=fsdp"), "fsdp"),
        (("trainer.devices=2", "model.frames=1"), "ddp_find_unused_parameters_true"),
        (("trainer.devices=2", "model.frames=1", "model.rounds=0"), "ddp"),
    ],
    ids=str,
)
def test_the_strategy_fits_what_has_gradients(words, strategy):
    assert trainer_options(train_config(*words))["strategy"] == strategy


@pytest.mark.parametrize(
    ("env", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "3"}, False),
        ({"SLURM_PROCID": "0"}, True),
    ],
    ids=str,
)
def test_the_first_process_is_known_by_what_launchers_set(monkeypatch, env, first):
    for key in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.delenv(key, raising=False)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    assert is_first_process() is first
