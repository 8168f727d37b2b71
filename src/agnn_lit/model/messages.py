"""Messages between nodes, their gates, and their aggregation.

A message m_ji goes from node j to node i. Gates are options of ``model.gate``, called with C, and aggregations of
``model.aggregation``, called with C and N'. Facts of an aggregation: ``loop_edge=False`` (it ignores the node's own
message) and ``fixed_frames=True`` (its weights depend on N').

Shapes: B clips, N frames, C channels, H×W feature grid.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from agnn_lit.config.registry import register
from agnn_lit.model.edges import LineEdge

#: From this number of frames on, messages are recomputed in the backward pass instead of stored.
_MANY = 4


def neighbour_messages(line_edge: LineEdge, h: Tensor) -> Tensor:
    """Messages from every other frame, m_ji = softmax(e_ij) h_j (AGNN, eq. 5).

    The softmax runs over the positions of frame j, so that each position of frame i receives a convex combination of
    the positions of frame j. (Some texts print e_ji, but only with e_ij do the rows belong to frame i and the weights
    range over frame j.)

    Args:
        line_edge: computes the messages of a pair of nodes.
        h: node states (B, N, C, H, W), N at least 2.

    Returns:
        (B, N, N-1, C, H, W): entry [b, i] holds the messages to node i, in ascending order of the sender j ≠ i.
    """
    b, n, c, height, width = h.shape
    nodes, sent = line_edge.nodes(h)  # N times (B, P, C) and (B, Q, C)
    messages: dict[tuple[int, int], Tensor] = {}  # from node j to node i, by (i, j)
    for i, j in combinations(range(n), 2):
        messages[i, j], messages[j, i] = line_edge(nodes[i], nodes[j], sent[i], sent[j])  # (B, P, C)
    stacked = torch.stack([messages[i, j] for i in range(n) for j in range(n) if i != j], dim=1)  # (B, N·(N-1), P, C)
    return stacked.transpose(2, 3).reshape(b, n, n - 1, c, height, width)


def _on_grid(message: Tensor, h: Tensor) -> Tensor:
    """Reshape a message (B, P, C) to (B, C, H, W)."""
    return message.transpose(1, 2).reshape(*message.shape[:1], -1, *h.shape[-2:])


@register("model.gate", "channel")
class ChannelGate(nn.Module):
    """One weight per channel, g = σ(GAP(W_g * m + b_g)) ∈ [0, 1]^C (AGNN, eq. 6).

    W_g is a 1×1 convolution, which commutes with the average over positions and is applied after it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_g = nn.Linear(channels, channels)

    def forward(self, m: Tensor) -> Tensor:
        """Return g ⊙ m for messages (M, C, H, W)."""
        return torch.sigmoid(self.w_g(m.mean(dim=(2, 3))))[:, :, None, None] * m


@register("model.gate", "spatial")
class SpatialGate(nn.Module):
    """One weight per position, g = σ(W_g * m) ∈ [0, 1]^{H×W}, without bias, as in the released code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_g = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, m: Tensor) -> Tensor:
        """Return g ⊙ m for messages (M, C, H, W)."""
        return torch.sigmoid(self.w_g(m)) * m


@register("model.gate", "none")
class NoGate(nn.Identity):
    """Pass every message unchanged."""

    def __init__(self, channels: int) -> None:  # noqa: ARG002 - same call as the others
        super().__init__()


class SumMessages(nn.Module):
    """Sum the gated messages to a node, its own included, m_i = Σ_j g_ji ⊙ m_ji (AGNN, eq. 7).

    Messages of a pair of frames are added before the next pair is scored, so that memory grows with the number of
    frames, not of pairs. From four frames on, each pair is recomputed in the backward pass instead of stored.
    ``mean`` divides by the number of messages.
    """

    def __init__(self, channels: int, frames: int, mean: bool = False) -> None:  # noqa: ARG002 - same call as concat
        super().__init__()
        self.mean = mean

    def forward(self, h: Tensor, own: Tensor | None, line_edge: LineEdge, gate: nn.Module) -> Tensor:
        """Aggregate the messages to each node.

        Args:
            h: node states (B, N, C, H, W).
            own: gated message of the loop edge, (B, N, C, H, W), or None without one.
            line_edge: computes the messages of a pair of nodes.
            gate: maps messages (M, C, H, W) to gated messages.

        Returns:
            (B, N, C, H, W).
        """
        n = h.shape[1]
        nodes, sent = line_edge.nodes(h)  # N times (B, P, C) and (B, Q, C)

        def gated_pair(*pair: Tensor) -> tuple[Tensor, Tensor]:
            to_i, to_j = (_on_grid(m, h) for m in line_edge(*pair))
            return gate(to_i), gate(to_j)

        totals = [None] * n if own is None else list(own.unbind(1))
        for i, j in combinations(range(n), 2):
            pair = nodes[i], nodes[j], sent[i], sent[j]
            if n >= _MANY and torch.is_grad_enabled():
                found = checkpoint(gated_pair, *pair, use_reentrant=False, preserve_rng_state=False)
            else:
                found = gated_pair(*pair)
            for k, message in zip((i, j), found, strict=True):
                before = totals[k]
                totals[k] = message if before is None else before + message
        sums = [torch.zeros_like(h[:, 0]) if t is None else t for t in totals]
        total = torch.stack([t.movedim(1, -1) for t in sums], dim=1).movedim(-1, 2)  # channels last in memory
        return total / max(n - (own is None), 1) if self.mean else total


register("model.aggregation", "sum")(partial(SumMessages, mean=False))
register("model.aggregation", "mean")(partial(SumMessages, mean=True))


@register("model.aggregation", "concat", loop_edge=False, fixed_frames=True)
class ConcatMessages(nn.Module):
    """Concatenate the N'-1 neighbour messages and apply a 3×3 convolution, as in the released code.

    This fixes N' = ``frames``, and ignores the node's own message.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv2d((frames - 1) * channels, channels, 3, padding=1)

    def forward(self, h: Tensor, own: Tensor | None, line_edge: LineEdge, gate: nn.Module) -> Tensor:  # noqa: ARG002
        """Aggregate the messages to each node; see :meth:`SumMessages.forward`.

        Raises:
            ValueError: the number of frames differs from N'.
        """
        b, n, c, height, width = h.shape
        if n != self.frames:
            raise ValueError(
                f"aggregation concat was built for {self.frames} frames and received {n}: "
                "its convolution has one block of weights per neighbour; use sum or mean to change N'"
            )
        messages = neighbour_messages(line_edge, h)  # (B, N, N-1, C, H, W)
        gated = gate(messages.flatten(0, 2)).reshape(b * n, (n - 1) * c, height, width)
        out: Tensor = self.conv(gated).reshape(b, n, c, height, width)
        return out
