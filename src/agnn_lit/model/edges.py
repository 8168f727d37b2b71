"""Attention edges within a frame (loop edge) and between two frames (line edge).

Shapes: B clips, N frames of a clip, C channels, H×W feature grid, P = H·W positions that receive, Q positions that are
attended to: P, or with ``pool`` about P / pool².
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agnn_lit.model.attention import attention, attention_both_ways


class LoopEdge(nn.Module):
    """Intra-attention of a node, e_ii = α · softmax((W_f*h)(W_h*h)ᵀ)(W_l*h) + h (AGNN, eq. 2).

    α is a learnable scalar that starts at 0, so the edge starts as the identity.

    Args:
        channels: C of the node states.
        inner: channels of W_f*h and W_h*h.
        pool: keys and values are those of ``pool`` × ``pool`` positions averaged.
    """

    def __init__(self, channels: int, inner: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.w_f = nn.Conv2d(channels, inner, 1)
        self.w_h = nn.Conv2d(channels, inner, 1)
        self.w_l = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.backend = "auto"

    def forward(self, h: Tensor) -> Tensor:
        """Map states (M, C, H, W) to loop edges (M, C, H, W)."""
        source = pooled(h, self.pool)
        query = self.w_f(h).flatten(2).transpose(1, 2)  # (M, P, inner)
        key = self.w_h(source).flatten(2).transpose(1, 2)  # (M, Q, inner)
        # α scales the weights rather than the result, which then is not stored for the backward pass.
        assert self.w_l.bias is not None
        scaled = F.conv2d(source, self.alpha * self.w_l.weight, self.alpha * self.w_l.bias)
        value = scaled.flatten(2).transpose(1, 2)  # (M, Q, C)
        return attention(query, key, value, self.backend).transpose(1, 2).reshape(h.shape) + h


class LineEdge(nn.Module):
    """Inter-attention of two nodes, e_ij = h_i W_c h_jᵀ ∈ R^{P×P} (AGNN, eq. 3).

    Row p of e_ij scores the positions of frame j for position p of frame i. With ``symmetric``, W_c = ½(A + Aᵀ), hence
    e_ji = e_ijᵀ for every pair; otherwise W_c is unconstrained and each ordered pair has its own scores, as in the
    released code.

    W_c is initialised as a multiple of the identity, so that attention begins as similarity of features. A position
    whose C features have a mean square of ½ then has a score of about 6 with itself: sharp enough to stand out among
    thousands of positions, but not saturated.

    Args:
        channels: C of the node states.
        symmetric: form of W_c.
        pool: a frame sends ``pool`` × ``pool`` positions averaged, a quarter of the scores with 2; every position
            receives.
    """

    def __init__(self, channels: int, symmetric: bool = True, pool: int = 1) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.pool = pool
        self.weight = nn.Parameter(torch.eye(channels) * (12 / channels))
        self.backend = "auto"

    @property
    def w_c(self) -> Tensor:
        """The weight W_c, (C, C)."""
        return 0.5 * (self.weight + self.weight.T) if self.symmetric else self.weight

    def nodes(self, h: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Split node states (B, N, C, H, W) into N frames: as they receive, (B, P, C), and as they send, (B, Q, C)."""
        received = h.flatten(3).transpose(2, 3).unbind(1)
        if self.pool == 1:
            return received, received
        sent = pooled(h.flatten(0, 1), self.pool).flatten(2).transpose(1, 2)  # (B·N, Q, C)
        return received, sent.reshape(*h.shape[:2], *sent.shape[1:]).unbind(1)

    def forward(
        self, h_i: Tensor, h_j: Tensor, sent_i: Tensor | None = None, sent_j: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Messages of two frames to each other, m_ji = softmax(e_ij) h_j and m_ij = softmax(e_ji) h_i (AGNN, eq. 5).

        If W_c is symmetric, e_ji = e_ijᵀ: both use one matrix of scores, unless the frames send pooled positions.

        Args:
            h_i: (M, P, C).
            h_j: (M, P', C).
            sent_i: the positions that frame i sends, (M, Q, C), of :meth:`nodes`; None: all.
            sent_j: likewise of frame j, (M, Q', C).

        Returns:
            m_ji, to frame i, (M, P, C), and m_ij, to frame j, (M, P', C).
        """
        w_c = self.w_c
        if self.symmetric and self.pool == 1:
            return attention_both_ways(h_i @ w_c, h_i, h_j, self.backend)
        sent_i, sent_j = h_i if sent_i is None else sent_i, h_j if sent_j is None else sent_j
        to_i = attention(h_i @ w_c, sent_j, sent_j, self.backend)
        return to_i, attention(h_j @ w_c, sent_i, sent_i, self.backend)


def pooled(h: Tensor, pool: int) -> Tensor:
    """Average states (M, C, H, W) over ``pool`` × ``pool`` positions, at the edges over those that there are."""
    return h if pool == 1 else F.avg_pool2d(h, pool, ceil_mode=True)


def optional_loop_edge(channels: int, reduction: int | None) -> LoopEdge | None:
    """Return a loop edge for an encoder, with ``channels / reduction`` inner channels, or None without reduction."""
    return None if reduction is None else LoopEdge(channels, max(1, channels // reduction))
