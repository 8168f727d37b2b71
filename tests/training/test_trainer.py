"""The precision of a run: chosen for the machine, recorded, and kept when the run is continued on another one."""

from __future__ import annotations

import pytest
import torch

from agnn_lit.shared.runs import Run
from agnn_lit.training.fit import train
from agnn_lit.training.trainer import choose_precision
from tests.configs import train_config


def pretend(monkeypatch: pytest.MonkeyPatch, *instructions: str, gpu: str = "") -> None:
    """Let torch find a CPU with these instructions, and a GPU with ``bf16`` or, older, with ``fp16``."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions, True), raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpu))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu == "bf16")


@pytest.mark.parametrize(
    ("instructions", "gpu", "accelerator", "expected"),
    [
        (["avx2", "avx512_f"], "", "auto", "32-true"),
        (["avx512_bf16"], "", "auto", "bf16-mixed"),
        (["amx_bf16"], "", "cpu", "bf16-mixed"),
        (["avx2"], "bf16", "auto", "bf16-mixed"),
        (["avx2"], "bf16", "gpu", "bf16-mixed"),
        (["avx2"], "bf16", "cpu", "32-true"),
        (["avx512_bf16"], "fp16", "auto", "16-mixed"),
        (["avx512_bf16"], "fp16", "cpu", "bf16-mixed"),
    ],
)
def test_auto_is_the_fastest_that_the_device_has_itself(monkeypatch, instructions, gpu, accelerator, expected):
    pretend(monkeypatch, *instructions, gpu=gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_precision("auto", accelerator) == expected
    assert choose_precision("32-true", accelerator) == "32-true"


def test_an_apple_gpu_trains_in_fp32(monkeypatch):
    pretend(monkeypatch, "bf16")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [choose_precision("auto", a) for a in ("auto", "gpu", "mps")] == ["32-true"] * 3
    assert choose_precision("auto", "cpu") == "bf16-mixed"


def test_a_run_keeps_its_precision_on_another_machine(tmp_path, monkeypatch):
    def weights(run: Run) -> list[torch.Tensor]:
        return list(torch.load(run.last, weights_only=True)["state_dict"].values())

    words = ("precision=auto", "optim.schedule=constant")
    whole, parts, other = (Run(tmp_path / name) for name in ("whole", "parts", "other"))
    pretend(monkeypatch, "avx512_bf16")
    train(train_config(*words, "trainer.max_epochs=2"), whole)
    train(train_config(*words, "trainer.max_epochs=1"), parts)
    assert parts.status["precision"] == whole.status["precision"] == "bf16-mixed"
    pretend(monkeypatch, "avx2")
    train(train_config(*words, "trainer.max_epochs=2"), Run(parts.folder))
    train(train_config(*words, "trainer.max_epochs=2"), other)
    assert parts.load_config().trainer.precision == "auto"
    assert parts.status["precision"] == "bf16-mixed"
    assert all(map(torch.equal, weights(whole), weights(parts)))
    assert other.status["precision"] == "32-true"
    assert not all(map(torch.equal, weights(whole), weights(other)))
