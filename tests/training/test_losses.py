from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.config import ConfigError, LossConfig, check_train, option
from agnn_lit.training.losses import overlap_loss, weighted_bce
from tests.configs import train_config


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


def overlap_formula(logits: np.ndarray, masks: np.ndarray, weight: float, overlap: str) -> float:
    """Cross-entropy and overlap, frame by frame and pixel by pixel."""
    losses = []
    for frame, mask in zip(logits.reshape(-1, *logits.shape[-2:]), masks.reshape(-1, *masks.shape[-2:]), strict=True):
        entropy = both = either = total = 0.0
        for x, s in zip(frame.ravel(), mask.ravel(), strict=True):
            p = 1 / (1 + np.exp(-x))
            entropy -= np.log(p) if s else np.log(1 - p)
            both += p * s
            either += p + s - p * s
            total += p + s
        found = (both + 1) / (either + 1) if overlap == "iou" else (2 * both + 1) / (total + 1)
        losses.append(entropy / frame.size + weight * (1 - found))
    return float(np.mean(losses))


@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    weight=st.sampled_from([0.0, 0.5, 2.0]),
    overlap=st.sampled_from(["iou", "dice"]),
)
@settings(max_examples=40, deadline=None)
def test_overlap_loss_is_its_formula_in_any_order_of_frames(seed, shape, weight, overlap):
    rng = np.random.default_rng(seed)
    logits, masks = rng.normal(0, 3, shape), (rng.uniform(size=shape) < 0.3).astype(float)
    args = torch.from_numpy(logits), torch.from_numpy(masks)
    got = float(overlap_loss(*args, weight, overlap))
    assert got == pytest.approx(overlap_formula(logits, masks, weight, overlap), rel=1e-9)
    clips, frames = rng.permutation(shape[0]), rng.permutation(shape[1])
    assert float(overlap_loss(*(a[clips][:, frames] for a in args), weight, overlap)) == pytest.approx(got, rel=1e-12)


@pytest.mark.parametrize("overlap", ["iou", "dice"])
def test_overlap_term_raises_the_object_and_lowers_the_rest(overlap: str):
    """Also of an object of one pixel, where the mean cross-entropy of its frame has a small gradient."""
    masks = torch.zeros(1, 1, 20, 20)
    masks[..., 3, 4] = 1
    gradients = {}
    for weight in (0.0, 1.0):
        logits = torch.zeros(1, 1, 20, 20, requires_grad=True)
        overlap_loss(logits, masks, weight, overlap).backward()
        gradients[weight] = logits.grad
    term = gradients[1.0] - gradients[0.0]
    assert term[masks == 1].max() < 0 < term[masks == 0].min()
    assert term[0, 0, 3, 4] < 0.5 * gradients[0.0][0, 0, 3, 4]


@pytest.mark.parametrize("overlap", ["iou", "dice"])
def test_overlap_loss_of_frames_of_one_class(overlap: str):
    empty, full = torch.zeros(1, 1, 30, 40), torch.ones(1, 1, 30, 40)
    assert float(overlap_loss(torch.full_like(empty, -20.0), empty, 0.5, overlap)) < 1e-5
    assert float(overlap_loss(torch.full_like(full, 20.0), full, 0.5, overlap)) < 1e-5
    logits = torch.zeros_like(empty, requires_grad=True)
    loss = overlap_loss(logits, empty, 0.5, overlap)
    assert loss.item() == pytest.approx(np.log(2) + 0.5 * 600 / 601, rel=1e-6)  # 1,200 pixels of probability 1/2
    loss.backward()
    assert logits.grad.min() > 0
    extreme = torch.tensor([[[[1e4, -1e4]]]], requires_grad=True)
    overlap_loss(extreme, torch.tensor([[[[0.0, 1.0]]]]), 0.5, overlap).backward()
    assert torch.isfinite(extreme.grad).all()


@pytest.mark.parametrize("name", ["iou", "dice"])
def test_overlap_losses_are_options_with_a_weight(name: str):
    cfg = train_config(f"loss=bce_{name}", "loss.iou=0.25")
    check_train(cfg)
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(0, 3, (1, 2, 4, 5)), (rng.uniform(size=(1, 2, 4, 5)) < 0.3).astype(float)
    loss = option("loss.name", cfg.loss.name).load()(cfg.loss)
    got = loss(torch.from_numpy(logits), torch.from_numpy(masks))
    assert float(got) == pytest.approx(overlap_formula(logits, masks, 0.25, name), rel=1e-9)
    with pytest.raises(ConfigError, match=r"loss\.iou=-1\.0: must be 0 or more"):
        check_train(train_config("loss.iou=-1"))


def test_overlap_loss_says_what_it_received():
    with pytest.raises(ValueError, match=r"\(1, 2\) and target \(2, 1\)"):
        overlap_loss(torch.zeros(1, 2), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="'jaccard'"):
        overlap_loss(torch.zeros(1, 2), torch.zeros(1, 2), overlap="jaccard")


@pytest.mark.parametrize("name", ["paper", "official", "bce_iou", "bce_dice"])
def test_void_pixels_leave_the_loss(name: str):
    """The loss of a frame with void is that of the frame without those pixels, whatever is predicted there."""
    loss = option("loss.name", name).load()(LossConfig())
    rng = np.random.default_rng(5)
    logits = torch.from_numpy(rng.normal(0, 2, (1, 1, 4, 6))).requires_grad_()
    target = torch.from_numpy((rng.uniform(size=(1, 1, 4, 6)) < 0.4).astype(float))
    target[..., 4:] = -1.0
    with_void = loss(logits, target)
    without = loss(logits[..., :4], target[..., :4])
    assert float(with_void.detach()) == pytest.approx(float(without.detach()), rel=1e-12)
    with_void.backward()
    assert not logits.grad[..., 4:].any()
    assert logits.grad[..., :4].any()
    all_void = loss(logits, torch.full_like(target, -1.0))
    assert torch.isfinite(all_void)
