"""Training losses: class-balanced cross-entropy (AGNN, eq. 12), the released code's, and cross-entropy with overlap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from agnn_lit.config import LossConfig, register

#: Maps logits and masks, both (B, N', H, W), to a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]

#: Added to both sides of the fraction of an overlap, in pixels: the overlap of two empty masks is 1.
_EMPTY = 1.0
#: Logit of void pixels: with a target of 0, they add nothing to any sum over pixels.
_NEVER = -1e4


def _leave_out_void(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits and target (..., H, W) whose void pixels (target < 0) add 0 to a loss, and which pixels are valid.

    Raises:
        ValueError: different shapes.
    """
    if logits.shape != target.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
    target = target.to(logits.dtype)
    void = target < 0
    if not bool(void.any()):
        return logits, target, None
    return logits.masked_fill(void, _NEVER), target.masked_fill(void, 0.0), ~void


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the valid pixels; of void pixels the values are 0."""
    return values.mean() if valid is None else values.sum() / valid.sum().clamp_min(1)


def foreground_weight(target: Tensor, eta: str = "share", valid: Tensor | None = None) -> Tensor:
    """Class weight η of each frame.

    Args:
        target: masks (..., H, W), 0 or 1.
        eta: ``share`` is |fg| / (|fg| + |bg|); ``literal`` is |fg| / |bg| as printed in the paper.
        valid: the pixels that count, of the same shape; None for all. The target of the others must be 0.

    Returns:
        η, (..., 1, 1).

    Raises:
        ValueError: ``literal`` with an object that fills over half of a frame: 1 − η would be negative.
    """
    if valid is None:
        share = target.mean(dim=(-2, -1), keepdim=True)
    else:
        share = target.sum(dim=(-2, -1), keepdim=True) / valid.sum(dim=(-2, -1), keepdim=True).clamp_min(1)
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
        target: S, of the same shape, 0 or 1; below 0: void, left out.
        eta: see :func:`foreground_weight`.
        reduction: "mean" over all pixels of all frames, or "sum".

    Returns:
        A scalar.

    Raises:
        ValueError: different shapes, an unknown reduction, or see :func:`foreground_weight`.
    """
    logits, target, valid = _leave_out_void(logits, target)
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction {reduction!r}: must be 'mean' or 'sum'")
    weight = foreground_weight(target, eta, valid)
    loss = (1 - weight) * target * F.softplus(-logits) + weight * (1 - target) * F.softplus(logits)
    return _mean(loss, valid) if reduction == "mean" else loss.sum()


def official_loss(logits: Tensor, target: Tensor, l1: float = 0.8) -> Tensor:
    """Loss of the released code: mean binary cross-entropy divided by the foreground share, plus l1 · mean |Ŝ − S|.

    The share is that of the batch on this device. A batch without foreground, for which the released code divides by
    zero, counts as one foreground pixel.

    Args:
        logits: (..., H, W); Ŝ = σ(logits).
        target: S, of the same shape, 0 or 1; below 0: void, left out.
        l1: weight of the L1 term.

    Returns:
        A scalar.

    Raises:
        ValueError: different shapes.
    """
    logits, target, valid = _leave_out_void(logits, target)
    share = _mean(target, valid).clamp_min(1 / target.numel())
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _mean(entropy, valid) / share + l1 * _mean((logits.sigmoid() - target).abs(), valid)


def soft_iou(probability: Tensor, target: Tensor) -> Tensor:
    """Soft intersection over union of each frame: (Σ p·s + ε) / (Σ (p + s − p·s) + ε) with ε = 1 pixel.

    Args:
        probability: p, (..., H, W), in [0, 1].
        target: s, of the same shape, 0 or 1.

    Returns:
        (...), in (0, 1]. Of a frame without foreground, 1 / (1 + Σ p): 1 without a prediction.
    """
    both = (probability * target).sum(dim=(-2, -1))
    either = (probability + target).sum(dim=(-2, -1)) - both
    return (both + _EMPTY) / (either + _EMPTY)


def soft_dice(probability: Tensor, target: Tensor) -> Tensor:
    """Soft Dice coefficient of each frame: (2 Σ p·s + ε) / (Σ p + Σ s + ε); otherwise as :func:`soft_iou`."""
    both = (probability * target).sum(dim=(-2, -1))
    return (2 * both + _EMPTY) / ((probability + target).sum(dim=(-2, -1)) + _EMPTY)


def overlap_loss(logits: Tensor, target: Tensor, weight: float = 0.5, overlap: str = "iou") -> Tensor:
    """Mean binary cross-entropy plus weight · (1 − overlap), computed for each frame and averaged over the frames.

    A frame without foreground has no overlap to gain: its second term is Σ p / (1 + Σ p), which is near its maximum
    until hardly a pixel is predicted, so that the cross-entropy teaches it; both vanish with the prediction.

    Args:
        logits: (..., H, W); p = σ(logits).
        target: s, of the same shape, 0 or 1; below 0: void, left out.
        weight: weight of the second term.
        overlap: "iou", see :func:`soft_iou`, or "dice", see :func:`soft_dice`.

    Returns:
        A scalar.

    Raises:
        ValueError: different shapes, or an unknown overlap.
    """
    measures = {"iou": soft_iou, "dice": soft_dice}
    logits, target, valid = _leave_out_void(logits, target)
    if overlap not in measures:
        raise ValueError(f"overlap {overlap!r}: must be one of {', '.join(measures)}")
    found: Tensor = measures[overlap](logits.sigmoid(), target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _mean(entropy, valid) + weight * torch.mean(1 - found)


@register("loss.name", "paper")
def paper(cfg: LossConfig) -> Loss:
    """Return the paper's loss, :func:`weighted_bce`."""
    return partial(weighted_bce, eta=cfg.eta, reduction=cfg.reduction)


@register("loss.name", "official")
def official(cfg: LossConfig) -> Loss:
    """Return the released code's loss, :func:`official_loss`."""
    return partial(official_loss, l1=cfg.l1)


@register("loss.name", "bce_iou")
def bce_iou(cfg: LossConfig) -> Loss:
    """Return cross-entropy and soft IoU, :func:`overlap_loss`."""
    return partial(overlap_loss, weight=cfg.iou, overlap="iou")


@register("loss.name", "bce_dice")
def bce_dice(cfg: LossConfig) -> Loss:
    """Return cross-entropy and soft Dice, :func:`overlap_loss`."""
    return partial(overlap_loss, weight=cfg.iou, overlap="dice")
