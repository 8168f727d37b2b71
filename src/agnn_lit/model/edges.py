"""The two kinds of attention edges: within a frame (loop edge) and between two frames (line edge).

Shapes: B clips, N frames of a clip, C channels, H×W feature grid, P = H·W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def attend(scores: Tensor, values: Tensor) -> Tensor:
    """Average values with softmax weights over the positions that they come from.

    Args:
        scores: (..., P, Q), row p scores the Q source positions for the receiving position p.
        values: (..., Q, C).

    Returns:
        (..., P, C): each row is a convex combination of the rows of ``values``.
    """
    return scores.softmax(dim=-1) @ values


def attend_back(scores: Tensor, values: Tensor) -> Tensor:
    """Average values in the other direction, :func:`attend` of the transposed scores, without transposing them.

    Args:
        scores: (..., P, Q), column q scores the P source positions for the receiving position q.
        values: (..., P, C).

    Returns:
        (..., Q, C).
    """
    return (values.transpose(-1, -2) @ scores.softmax(dim=-2)).transpose(-1, -2)


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

    def forward(self, h: Tensor) -> Tensor:
        """Map states (M, C, H, W) to loop edges (M, C, H, W)."""
        query = self.w_f(h).flatten(2).transpose(1, 2)  # (M, P, inner)
        key = self.w_h(h).flatten(2)  # (M, inner, P)
        value = self.w_l(h).flatten(2).transpose(1, 2)  # (M, P, C)
        attended = attend(query @ key, value).transpose(1, 2).reshape(h.shape)  # (M, C, H, W)
        return self.alpha * attended + h


class LineEdge(nn.Module):
    """Inter-attention of two nodes, e_ij = h_i W_c h_jᵀ ∈ R^{P×P} (AGNN, eq. 3).

    Row p of e_ij scores the positions of frame j for position p of frame i. With ``symmetric`` the weight
    is W_c = ½(A + Aᵀ), hence e_ji = e_ijᵀ for every pair whatever the order of the frames; without, W_c is
    free and each ordered pair has scores of its own, as in the released code.

    The start is a multiple of the identity: attention begins as similarity of features. The multiple gives
    a position whose C features have a mean square of ½ a score of about 6 with itself: sharp enough to pick
    out its like among thousands of positions, and not saturated.

    Args:
        channels: C of the node states.
        symmetric: the form of W_c.
    """

    def __init__(self, channels: int, symmetric: bool = True) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.weight = nn.Parameter(torch.eye(channels) * (12 / channels))

    @property
    def w_c(self) -> Tensor:
        """The weight W_c, (C, C)."""
        return 0.5 * (self.weight + self.weight.T) if self.symmetric else self.weight

    def forward(self, h_i: Tensor, h_j: Tensor) -> Tensor:
        """Score positions of frame j for positions of frame i.

        Args:
            h_i: (..., P, C).
            h_j: (..., Q, C), with leading dimensions that broadcast against those of ``h_i``.

        Returns:
            e_ij, (..., P, Q).
        """
        return (h_i @ self.w_c) @ h_j.transpose(-1, -2)
