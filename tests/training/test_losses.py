from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.training.losses import weighted_bce


def formula(logits: np.ndarray, masks: np.ndarray, literal: bool) -> float:
    """The equation, frame by frame and pixel by pixel."""
    total = 0.0
    for frame, mask in zip(logits.reshape(-1, *logits.shape[-2:]), masks.reshape(-1, *masks.shape[-2:]), strict=True):
        fg, bg = int(mask.sum()), int((1 - mask).sum())
        eta = fg / bg if literal else fg / (fg + bg)
        for x, s in zip(frame.ravel(), mask.ravel(), strict=True):
            p = 1 / (1 + np.exp(-x))
            total -= (1 - eta) * s * np.log(p) + eta * (1 - s) * np.log(1 - p)
    return total


@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
)
@settings(max_examples=40, deadline=None)
def test_loss_is_its_formula(seed: int, shape: tuple[int, ...]):
    rng = np.random.default_rng(seed)
    logits, masks = rng.normal(0, 3, shape), (rng.uniform(size=shape) < 0.3).astype(float)
    expected = formula(logits, masks, literal=False)
    args = torch.from_numpy(logits), torch.from_numpy(masks)
    assert float(weighted_bce(*args, reduction="sum")) == pytest.approx(expected, rel=1e-9)
    assert float(weighted_bce(*args)) == pytest.approx(expected / logits.size, rel=1e-9)


def test_literal_ratio_is_its_formula_up_to_half_the_frame():
    logits = torch.linspace(-3, 3, 8, dtype=torch.float64).reshape(1, 1, 2, 4)
    masks = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.float64).reshape(1, 1, 2, 4)
    got = weighted_bce(logits, masks, "literal", "sum")
    assert float(got) == pytest.approx(formula(logits.numpy(), masks.numpy(), literal=True))


def test_literal_ratio_is_refused_above_half_the_frame():
    masks = torch.ones(1, 1, 2, 4)
    masks[..., 0] = 0
    with pytest.raises(ValueError, match=r"75\.0% of its frame.*loss\.eta=share"):
        weighted_bce(torch.zeros(1, 1, 2, 4), masks, "literal")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_frames_of_one_class_weigh_nothing_and_stay_finite(value: float):
    logits = torch.full((1, 2, 3, 3), 40.0 if value == 0 else -40.0, requires_grad=True)
    loss = weighted_bce(logits, torch.full((1, 2, 3, 3), value))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_extreme_logits_stay_finite():
    masks = torch.tensor([[[[0.0, 1.0]]]])
    assert torch.isfinite(weighted_bce(torch.tensor([[[[1e4, -1e4]]]]), masks))


def test_wrong_calls_say_what_they_received():
    with pytest.raises(ValueError, match=r"\(1, 2\) and target \(2, 1\)"):
        weighted_bce(torch.zeros(1, 2), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="'median'"):
        weighted_bce(torch.zeros(1, 2), torch.zeros(1, 2), reduction="median")
