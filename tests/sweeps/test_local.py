"""How a machine is divided among the runs of a sweep."""

from __future__ import annotations

import os

import pytest

from agnn_lit.config import ConfigError
from agnn_lit.sweeps.local import make_slots, visible_gpus


def test_a_machine_is_divided():
    def shares(*words):
        return [(slot.get("CUDA_VISIBLE_DEVICES"), slot["OMP_NUM_THREADS"]) for slot in make_slots(*words)]

    assert shares(1, None, 8, [], 1) == [(None, "8")]
    assert shares(None, None, 8, [], 1) == [(None, "2")] * 4
    assert shares(3, 1, 8, [], 1) == [(None, "1")] * 3
    assert shares(None, None, 8, ["0", "1", "5", "7"], 1) == [(g, "2") for g in "0157"]
    assert shares(None, None, 8, ["0", "1", "5", "7"], 2) == [("0,1", "4"), ("5,7", "4")]
    assert shares(1, None, 8, ["0", "1"], 1) == [("0", "8")]
    with pytest.raises(ConfigError, match="2 GPUs are enough for 1 jobs at a time"):
        make_slots(2, None, 8, ["0", "1"], 2)
    with pytest.raises(ConfigError, match=r"trainer.devices=2: more than the visible GPUs, 5$"):
        make_slots(None, None, 8, ["5"], 2)


def test_gpus_are_those_that_may_be_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-1a2b")
    assert visible_gpus() == ["2", "GPU-1a2b"]
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA X (UUID: GPU-1)'\necho 'GPU 1: NVIDIA X (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert visible_gpus() == []
