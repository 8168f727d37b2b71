"""The benchmark of feeding, on small generated files and on real ones."""

from __future__ import annotations

import os

import pytest

from agnn_lit.benchmarks.data import Workload, run_data
from tests.data.disk import make_davis

SMALL = Workload("tiny", channels=4, size=(32, 32), footage=(40, 48), length=4, steps=2)


@pytest.mark.parametrize("real", [False, True], ids=["generated", "AGNN_DAVIS_ROOT"])
def test_it_gives_frames_per_second_and_the_share_of_waiting(real, tmp_path, monkeypatch):
    monkeypatch.delenv("AGNN_DAVIS_ROOT", raising=False)
    if real:
        monkeypatch.setenv("AGNN_DAVIS_ROOT", str(make_davis(tmp_path)))
    result = run_data(1, SMALL)
    seconds = {row["name"]: row["seconds"] for row in result["rows"]}
    ratios, many = result["ratios"], max(2, min(4, os.cpu_count() or 1))
    assert ratios["frames_per_second_per_worker"] == pytest.approx(1 / seconds["a frame from 1 loader process"])
    for workers, name in ((0, "without_workers"), (many, f"with_{many}_workers")):
        step = seconds[f"a training step on cpu, tiny, {workers} loader processes"]
        waiting = seconds[f"of it waiting for clips, tiny, {workers} loader processes"]
        assert 0 < waiting < step
        assert ratios[f"waiting_share_of_a_step_{name}"] == pytest.approx(waiting / step)


def test_a_slow_disk_is_seen_as_waiting_and_kept_frames_are_not(monkeypatch):
    """Without loader processes a step waits as long as its clips take to read; kept frames are not read again."""
    import time

    from agnn_lit.data.video import DiskVideo

    read = DiskVideo.frame
    monkeypatch.setattr(DiskVideo, "frame", lambda *a: (time.sleep(0.1), read(*a))[1])
    monkeypatch.delenv("AGNN_DAVIS_ROOT", raising=False)
    ratios = run_data(1, SMALL)["ratios"]
    assert ratios["frames_per_second_decoded"] < 10
    assert ratios["waiting_share_of_a_step_without_workers"] > 0.5
    assert ratios["time_of_a_frame_over_a_kept_one"] > 2
