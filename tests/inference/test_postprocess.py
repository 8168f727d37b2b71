"""Masks written by worker processes: CRF, mask, soft map."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pytest

from agnn_lit import config
from agnn_lit.inference.postprocess import MaskTask, open_mask_writer, write_masks
from tests.command import PATIENCE


def test_a_killed_worker_is_an_error_with_advice(tmp_path):
    crf = config.CrfConfig("fast")
    task = MaskTask(
        np.zeros((4, 4, 3), np.uint8), {"raw": np.ones((4, 4), np.float32)}, {"crf": tmp_path / "0.png"}, None, 0.5, crf
    )

    def work():
        with open_mask_writer(crf, 1) as pool:
            pool.submit(task)
            pool.drain()
            for child in multiprocessing.active_children():
                child.kill()
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                pool.submit(task)
                time.sleep(0.02)

    with pytest.raises(OSError, match="workers=1"):
        work()


def test_a_soft_map_is_written_before_its_mask(tmp_path):
    """A mask says that its frame is done."""
    (tmp_path / "soft").write_text("in the way")
    task = MaskTask(
        np.zeros((4, 4, 3), np.uint8),
        {"raw": np.ones((4, 4), np.float32)},
        {"raw": tmp_path / "masks" / "0.png"},
        tmp_path / "soft" / "0.png",
        0.5,
        config.CrfConfig(),
    )
    with pytest.raises(OSError, match="soft"):
        write_masks(task)
    assert not (tmp_path / "masks").exists()
