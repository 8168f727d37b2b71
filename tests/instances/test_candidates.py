"""Candidates of a frame: their agreement with the foreground, their number, their file."""

from __future__ import annotations

import numpy as np
import pytest

from agnn_lit.config import InstancesConfig
from agnn_lit.instances.candidates import Candidates, Proposal, find_candidates
from tests.instances.squares import BLUE, RED, SIZE, scene


@pytest.mark.parametrize("agreement", [0.0, 0.5])
def test_candidates_agree_with_the_foreground(agreement):
    frame, masks = scene((RED, 40, 10, 30), (BLUE, 40, 100, 30))
    probability = np.where(masks[0], 0.8, 0.1).astype(np.float32)
    cfg = InstancesConfig(agreement=agreement)
    c = find_candidates(frame, probability, None, [Proposal(m) for m in masks], 0.5, cfg)
    assert len(c) == (1 if agreement else 2)
    assert c.scores[0] == pytest.approx(0.8 if agreement else 1.0)


def test_no_more_candidates_than_asked_for_the_strongest(tmp_path):
    frame, masks = scene(*((RED, 2 + 24 * (k // 6), 2 + 26 * (k % 6), 20) for k in range(30)))
    cfg = InstancesConfig(agreement=0.0, candidates=5)
    given = [Proposal(mask, (k + 1) / 30) for k, mask in enumerate(masks)]
    c = find_candidates(frame, np.ones(SIZE, np.float32), np.ones((3, 30, 40), np.float32), given, 0.5, cfg)
    assert c.scores.tolist() == pytest.approx([30 / 30, 29 / 30, 28 / 30, 27 / 30, 26 / 30])
    c.save(tmp_path / "a" / "00000.npz")
    again = Candidates.load(tmp_path / "a" / "00000.npz")
    for name in ("masks", "scores", "nodes", "ground", "colours"):
        assert (getattr(again, name) == getattr(c, name)).all()
        assert getattr(again, name).dtype == getattr(c, name).dtype
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["00000.npz"]
