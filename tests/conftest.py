"""What several rooms of tests share: paths to real footage, and tiny configurations."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from agnn_lit.shared.runs import Run
from tests.command import call_command, run_command
from tests.configs import train_config
from tests.model import released

# A shell starts what it runs in the background with Ctrl-C ignored, which the commands under test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Tests run side by side, and so do the commands that they start; results do not depend on it.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def davis_root() -> Path:
    root = os.environ.get("AGNN_DAVIS_ROOT")
    if not root:
        pytest.skip("AGNN_DAVIS_ROOT is not set: needs DAVIS footage")
    return Path(root)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of ``train_config()``, trained once in a test process. For reading: what writes takes ``run``."""
    from agnn_lit.training.fit import train

    run = Run(tmp_path_factory.mktemp("trained") / "runs" / "demo" / "default")
    train(train_config(), run)
    return run


@pytest.fixture(scope="module")
def run(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of ``trained`` for the tests of a module, at ``runs/demo/default`` of a folder of its own."""
    folder = tmp_path_factory.mktemp("copy") / "runs" / "demo" / "default"
    return Run(shutil.copytree(trained.folder, folder))


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both released files (random tensors), and what agnn-convert makes of them.

    Tests that use it are in the xdist group ``official``, so that one test process makes these 700 MB.
    """
    folder = tmp_path_factory.mktemp("a folder, with = and ' in its name")
    model = {f"module.{name}": value for name, value in released.model_state(3).items()}
    torch.save({"epoch": 52, "model": model}, folder / "a.pth")
    draw = released.Draw(4)
    released.encoder_state(draw)
    torch.save({"model": draw.state}, folder / "e.pth")
    for name, run in (("a", run_command), ("e", call_command)):
        done = run("convert", f"official={folder}/{name}.pth", f"out={folder}/{name}.ckpt", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def _no_wandb_network(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "wandb-cache"))
