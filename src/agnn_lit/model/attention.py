"""Attention between the positions of two grids: plain, in recomputed blocks, and with PyTorch's fused kernels.

Shapes: M grids, P receiving positions, Q source positions, D channels of the scores, C channels of the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Scores per block, which should fit into the CPU's cache.
_BLOCK = 1 << 22
#: With fewer scores per frame, plain code is faster.
_SMALL = 1 << 20


def attend(scores: Tensor, values: Tensor) -> Tensor:
    """Average values with softmax weights over the source positions.

    Args:
        scores: (..., P, Q), row p scores the Q source positions for receiving position p.
        values: (..., Q, C).

    Returns:
        (..., P, C): each row is a convex combination of the rows of ``values``.
    """
    return scores.softmax(dim=-1) @ values


def attend_back(scores: Tensor, values: Tensor) -> Tensor:
    """As :func:`attend` with transposed scores, without transposing them.

    Args:
        scores: (..., P, Q), column q scores the P source positions for receiving position q.
        values: (..., P, C).

    Returns:
        (..., Q, C).
    """
    return (values.transpose(-1, -2) @ scores.softmax(dim=-2)).transpose(-1, -2)


def choose(asked: str, query: Tensor, key: Tensor) -> str:
    """Return the backend; ``auto`` depends on the device, the size of the grid, and whether gradients are needed.

    GPUs use fused kernels. On a CPU, blocks save memory for large grids in training, where plain code stores every
    softmax for the backward pass.
    """
    if asked != "auto":
        return asked
    if query.device.type == "cuda":
        return "sdpa"
    large = query.shape[-2] * key.shape[-2] >= _SMALL
    return "blocked" if large and torch.is_grad_enabled() else "reference"


def attention(query: Tensor, key: Tensor, value: Tensor, backend: str = "auto") -> Tensor:
    """softmax(query keyᵀ) value, the softmax over the positions of the key.

    Args:
        query: (M, P, D).
        key: (M, Q, D).
        value: (M, Q, C).
        backend: see :func:`choose`.

    Returns:
        (M, P, C).
    """
    backend = choose(backend, query, key)
    if backend == "reference":
        return attend(query @ key.transpose(-1, -2), value)
    query, key, value = _cast(query, key, value)
    if backend == "sdpa":
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return _Blocked.apply(query, key, value)  # type: ignore[no-any-return,no-untyped-call]


def attention_both_ways(query: Tensor, h_i: Tensor, h_j: Tensor, backend: str = "auto") -> tuple[Tensor, Tensor]:
    """Messages of two frames to each other from one matrix of scores, e = query h_jᵀ (AGNN, eqs. 3 and 5).

    Args:
        query: h_i W_c, (M, P, C).
        h_i: (M, P, C).
        h_j: (M, Q, C).
        backend: see :func:`choose`.

    Returns:
        softmax(e) h_j over the columns of e, (M, P, C), and softmax(eᵀ) h_i over its rows, (M, Q, C).
    """
    backend = choose(backend, query, h_j)
    if backend == "reference":
        scores = query @ h_j.transpose(-1, -2)  # (M, P, Q)
        return attend(scores, h_j), attend_back(scores, h_i)
    query, h_i, h_j = _cast(query, h_i, h_j)
    if backend == "sdpa":  # fused kernels do not return the scores
        return (
            F.scaled_dot_product_attention(query, h_j, h_j, scale=1.0),
            F.scaled_dot_product_attention(h_j, query, h_i, scale=1.0),
        )
    return _BlockedPair.apply(query, h_i, h_j)  # type: ignore[no-any-return,no-untyped-call]


def _cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast to autocast's precision once, instead of for each block."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(t.to(torch.get_autocast_dtype(device)) for t in tensors)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, min(rows, _BLOCK // columns))
    return (slice(k, k + step) for k in range(0, rows, step))


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the precision for sums: at least fp32."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def _zeros(*tensors: Tensor) -> list[Tensor]:
    """Return accumulators for sums."""
    return [torch.zeros_like(t, dtype=_wide(t.dtype)) for t in tensors]


def _add(total: Tensor, part: Tensor) -> None:
    """Add a part in lower precision to a sum; PyTorch's own mixed addition is not vectorised."""
    total.add_(part.to(total.dtype))


def _softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of scores (b, Q) whose softmax over dimension 1 is ``weights``."""
    return torch._softmax_backward_data(grad, weights, 1, weights.dtype)


class _Blocked(torch.autograd.Function):
    """Attention by blocks of rows; attention scores are recomputed in the backward pass instead of stored."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = value.new_empty(*query.shape[:2], value.shape[2])
        for m in range(len(query)):
            for rows in _blocks(query.shape[1], key.shape[1]):
                weights = (query[m, rows] @ key[m].T).softmax(1)  # (b, Q)
                torch.mm(weights, value[m], out=out[m, rows])
        ctx.save_for_backward(query, key, value)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        d_query = torch.empty_like(query)
        d_key, d_value = _zeros(key, value)
        for m in range(len(query)):
            for rows in _blocks(query.shape[1], key.shape[1]):
                weights = (query[m, rows] @ key[m].T).softmax(1)
                _add(d_value[m], weights.T @ grad[m, rows])
                d_scores = _softmax_backward(grad[m, rows] @ value[m].T, weights)
                torch.mm(d_scores, key[m], out=d_query[m, rows])
                _add(d_key[m], d_scores.T @ query[m, rows])
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype)


class _BlockedPair(torch.autograd.Function):
    """Both directions of a pair by blocks of rows, with each block of scores used for both.

    The softmax over the rows spans all blocks: its weights are relative to the running maximum of each column, and are
    divided by their sum at the end.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, h_i: Tensor, h_j: Tensor) -> tuple[Tensor, Tensor]:
        to_i, to_j = torch.empty_like(h_i), torch.empty_like(h_j)
        largest = torch.full_like(h_j[:, :, 0], -torch.inf)  # (M, Q)
        (total,) = _zeros(h_j[:, :, 0])
        for m in range(len(query)):
            (gathered,) = _zeros(h_j[m])  # (Q, C)
            for rows in _blocks(query.shape[1], h_j.shape[1]):
                scores = query[m, rows] @ h_j[m].T  # (b, Q)
                torch.mm(scores.softmax(1), h_j[m], out=to_i[m, rows])
                before = largest[m].clone()
                largest[m] = after = torch.maximum(before, scores.amax(0))
                shrink = (before.to(total.dtype) - after).exp_()
                weights = scores.sub_(after).exp_()
                _add(total[m].mul_(shrink), weights.sum(0))
                _add(gathered.mul_(shrink[:, None]), weights.T @ h_i[m, rows])
            to_j[m] = gathered.div_(total[m][:, None])
        ctx.save_for_backward(query, h_i, h_j, to_j, largest, total)
        return to_i, to_j

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_i: Tensor, grad_j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, h_i, h_j, to_j, largest, total = ctx.saved_tensors
        d_query, d_i = torch.empty_like(query), torch.empty_like(h_i)
        (d_j,) = _zeros(h_j)
        shared = (grad_j * to_j).sum(2, dtype=total.dtype).div_(total).neg_().to(h_j.dtype)  # (M, Q)
        grad_j = (grad_j / total[:, :, None]).to(h_j.dtype)  # divided by the sum of the weights
        for m in range(len(query)):
            for rows in _blocks(query.shape[1], h_j.shape[1]):
                scores = query[m, rows] @ h_j[m].T  # (b, Q)
                forth = scores.softmax(1)  # weights of frame j's positions for this block
                back = scores.sub_(largest[m]).exp_()  # weights of this block for frame j's positions
                _add(d_j[m], forth.T @ grad_i[m, rows])
                torch.mm(back, grad_j[m], out=d_i[m, rows])
                d_scores = _softmax_backward(grad_i[m, rows] @ h_j[m].T, forth)
                d_scores.addcmul_(back, (h_i[m, rows] @ grad_j[m].T).add_(shared[m]))
                torch.mm(d_scores, h_j[m], out=d_query[m, rows])
                _add(d_j[m], d_scores.T @ query[m, rows])
        return d_query, d_i, d_j.to(h_j.dtype)
