"""Messages between nodes, their gates, and their aggregation.

A message m_ji goes from node j to node i. Shapes: B clips, N frames, C channels, H×W feature grid.
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations

import torch
from torch import Tensor, nn

from agnn_lit.config import Aggregation, Gate
from agnn_lit.model.edges import LineEdge


def neighbour_messages(line_edge: LineEdge, h: Tensor) -> Tensor:
    """Messages from every other frame, m_ji = softmax(e_ij) h_j (AGNN, eq. 5).

    The softmax runs over the positions of frame j, so that each position of frame i receives a convex
    combination of the positions of frame j. (Printed with e_ji in some places: only with e_ij do the rows
    of the attention belong to frame i while its weights range over frame j.) Where the line edge is symmetric,
    e_ji = e_ijᵀ: a pair of frames is scored once for both directions.

    Args:
        line_edge: scores of a pair of nodes.
        h: node states (B, N, C, H, W), N at least 2.

    Returns:
        (B, N, N-1, C, H, W): entry [b, i] holds the messages to node i, senders j ≠ i in rising order.
    """
    b, n, c, height, width = h.shape
    nodes = h.flatten(3).transpose(2, 3).unbind(1)  # N times (B, P, C)
    messages: dict[tuple[int, int], Tensor] = {}  # from node j to node i, by (i, j)
    for i, j in combinations(range(n), 2):
        messages[i, j], messages[j, i] = line_edge(nodes[i], nodes[j])  # (B, P, C)
    stacked = torch.stack([messages[i, j] for i in range(n) for j in range(n) if i != j], dim=1)  # (B, N·(N-1), P, C)
    return stacked.transpose(2, 3).reshape(b, n, n - 1, c, height, width)


class ChannelGate(nn.Module):
    """One weight a channel, g = σ(GAP(W_g * m + b_g)) ∈ [0, 1]^C (AGNN, eq. 6).

    W_g is a 1×1 convolution, which commutes with the average over positions: it is applied after it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_g = nn.Linear(channels, channels)

    def forward(self, m: Tensor) -> Tensor:
        """Return g ⊙ m for messages (M, C, H, W)."""
        return torch.sigmoid(self.w_g(m.mean(dim=(2, 3))))[:, :, None, None] * m


class SpatialGate(nn.Module):
    """One weight a position, g = σ(W_g * m) ∈ [0, 1]^{H×W}, without bias, as in the released code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_g = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, m: Tensor) -> Tensor:
        """Return g ⊙ m for messages (M, C, H, W)."""
        return torch.sigmoid(self.w_g(m)) * m


def build_gate(kind: Gate, channels: int) -> nn.Module:
    """Return the gate of a kind; ``none`` passes every message as it is."""
    if kind is Gate.channel:
        return ChannelGate(channels)
    return SpatialGate(channels) if kind is Gate.spatial else nn.Identity()


class Aggregate(nn.Module):
    """Join the gated messages to a node into one, m_i = Σ_j g_ji ⊙ m_ji (AGNN, eq. 7).

    ``sum`` and ``mean`` run over all messages, the node's own included when there is a loop edge.
    ``concat`` is the released code's: the N'-1 neighbour messages side by side, then a 3×3 convolution;
    it fixes the number of frames and leaves the node's own message out.

    Args:
        kind: sum, mean or concat.
        channels: C.
        frames: N', used by concat.
    """

    def __init__(self, kind: Aggregation, channels: int, frames: int) -> None:
        super().__init__()
        self.kind = kind
        self.frames = frames
        self.conv = None
        if kind is Aggregation.concat:
            self.conv = nn.Conv2d((frames - 1) * channels, channels, 3, padding=1)

    def forward(self, neighbours: Tensor, own: Tensor | None) -> Tensor:
        """Join messages.

        Args:
            neighbours: gated messages from the other frames, (B, N, N-1, C, H, W).
            own: gated message of the loop edge, (B, N, C, H, W), or None without one.

        Returns:
            (B, N, C, H, W).

        Raises:
            ValueError: concat with another number of frames than it was built for.
        """
        b, n, others, c, height, width = neighbours.shape
        if self.conv is not None:
            if n != self.frames:
                raise ValueError(
                    f"aggregation concat was built for {self.frames} frames and received {n}: "
                    "its convolution has one block of weights a neighbour; use sum or mean to change N'"
                )
            joined = neighbours.reshape(b * n, others * c, height, width)
            out: Tensor = self.conv(joined).reshape(b, n, c, height, width)
            return out
        total = reduce(torch.add, neighbours.unbind(2)) if others else neighbours.sum(dim=2)  # faster than a reduction
        count = others
        if own is not None:
            total, count = total + own, count + 1
        return total / max(count, 1) if self.kind is Aggregation.mean else total
