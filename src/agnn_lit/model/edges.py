"""Attention edges within a frame (loop edge) and between two frames (line edge).

Shapes: B clips, N frames of a clip, C channels, H×W feature grid, P = H·W positions.
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
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.w_f = nn.Conv2d(channels, inner, 1)
        self.w_h = nn.Conv2d(channels, inner, 1)
        self.w_l = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.backend = "auto"

    def forward(self, h: Tensor) -> Tensor:
        """Map states (M, C, H, W) to loop edges (M, C, H, W)."""
        query = self.w_f(h).flatten(2).transpose(1, 2)  # (M, P, inner)
        key = self.w_h(h).flatten(2).transpose(1, 2)  # (M, P, inner)
        # α scales the weights rather than the result, which then is not stored for the backward pass.
        assert self.w_l.bias is not None
        scaled = F.conv2d(h, self.alpha * self.w_l.weight, self.alpha * self.w_l.bias)
        value = scaled.flatten(2).transpose(1, 2)  # (M, P, C)
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
    """

    def __init__(self, channels: int, symmetric: bool = True) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.weight = nn.Parameter(torch.eye(channels) * (12 / channels))
        self.backend = "auto"

    @property
    def w_c(self) -> Tensor:
        """The weight W_c, (C, C)."""
        return 0.5 * (self.weight + self.weight.T) if self.symmetric else self.weight

    def forward(self, h_i: Tensor, h_j: Tensor) -> tuple[Tensor, Tensor]:
        """Messages of two frames to each other, m_ji = softmax(e_ij) h_j and m_ij = softmax(e_ji) h_i (AGNN, eq. 5).

        If W_c is symmetric, e_ji = e_ijᵀ: both use one matrix of scores.

        Args:
            h_i: (M, P, C).
            h_j: (M, Q, C).

        Returns:
            m_ji, to frame i, (M, P, C), and m_ij, to frame j, (M, Q, C).
        """
        w_c = self.w_c
        if self.symmetric:
            return attention_both_ways(h_i @ w_c, h_i, h_j, self.backend)
        return attention(h_i @ w_c, h_j, h_j, self.backend), attention(h_j @ w_c, h_i, h_i, self.backend)


def optional_loop_edge(channels: int, reduction: int | None) -> LoopEdge | None:
    """Return a loop edge for an encoder, with ``channels / reduction`` inner channels, or None without reduction."""
    return None if reduction is None else LoopEdge(channels, max(1, channels // reduction))
