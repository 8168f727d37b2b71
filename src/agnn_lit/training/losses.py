"""Training losses: class-balanced cross-entropy (AGNN, eq. 12), and the loss of the released code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from agnn_lit.config import LossConfig, register

#: Maps logits and masks, both (B, N', H, W), to a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


def foreground_weight(target: Tensor, eta: str = "share") -> Tensor:
    """Class weight η of each frame.

    Args:
        target: masks (..., H, W), 0 or 1.
        eta: ``share`` is |fg| / (|fg| + |bg|); ``literal`` is |fg| / |bg| as printed in the paper.

    Returns:
        η, (..., 1, 1).

    Raises:
        ValueError: ``literal`` with an object that fills over half of a frame: 1 − η would be negative.
    """
    share = target.mean(dim=(-2, -1), keepdim=True)
    if eta == "share":
        return share
    largest = float(share.max())
    if largest > 0.5:
        raise ValueError(
            f"loss.eta=literal: an object fills {largest:.1%} of its frame, so η = |fg|/|bg| exceeds 1 and the "
            "foreground weight 1 - η is negative; use loss.eta=share"
        )
    return share / (1 - share)


def weighted_bce(logits: Tensor, target: Tensor, eta: str = "share", reduction: str = "mean") -> Tensor:
    """−Σ_x [(1−η) S_x log Ŝ_x + η (1−S_x) log(1−Ŝ_x)], with one η per frame, computed from logits.

    By this equation a frame without foreground (η = 0) or without background (1−η = 0) has loss 0.

    Args:
        logits: (..., H, W); Ŝ = σ(logits).
        target: S, of the same shape, 0 or 1.
        eta: see :func:`foreground_weight`.
        reduction: "mean" over all pixels of all frames, or "sum".

    Returns:
        A scalar.

    Raises:
        ValueError: different shapes, an unknown reduction, or see :func:`foreground_weight`.
    """
    if logits.shape != target.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction {reduction!r}: must be 'mean' or 'sum'")
    target = target.to(logits.dtype)
    weight = foreground_weight(target, eta)
    loss = (1 - weight) * target * F.softplus(-logits) + weight * (1 - target) * F.softplus(logits)
    return loss.mean() if reduction == "mean" else loss.sum()


def official_loss(logits: Tensor, target: Tensor, l1: float = 0.8) -> Tensor:
    """Loss of the released code: mean binary cross-entropy divided by the foreground share, plus l1 · mean |Ŝ − S|.

    The share is that of the batch on this device. A batch without foreground, for which the released code divides by
    zero, counts as one foreground pixel.

    Args:
        logits: (..., H, W); Ŝ = σ(logits).
        target: S, of the same shape, 0 or 1.
        l1: weight of the L1 term.

    Returns:
        A scalar.

    Raises:
        ValueError: different shapes.
    """
    if logits.shape != target.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
    target = target.to(logits.dtype)
    share = target.mean().clamp_min(1 / target.numel())
    return F.binary_cross_entropy_with_logits(logits, target) / share + l1 * F.l1_loss(logits.sigmoid(), target)


@register("loss.name", "paper")
def paper(cfg: LossConfig) -> Loss:
    """Return the paper's loss, :func:`weighted_bce`."""
    return partial(weighted_bce, eta=cfg.eta, reduction=cfg.reduction)


@register("loss.name", "official")
def official(cfg: LossConfig) -> Loss:
    """Return the released code's loss, :func:`official_loss`."""
    return partial(official_loss, l1=cfg.l1)
