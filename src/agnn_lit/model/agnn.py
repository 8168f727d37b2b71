"""The attentive graph neural network: frames in, masks out (AGNN, ICCV 2019, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from agnn_lit.config.registry import option
from agnn_lit.model import edges
from agnn_lit.model.readout import ReadOut


class AGNN(nn.Module):
    """Segment the primary objects in all frames of a clip together.

    Frames are the nodes of a fully connected graph. In each of K rounds a node receives gated messages over its loop
    edge and over the line edges from all other nodes, and a ConvGRU updates its state; all nodes of a round read only
    states of the previous round. All rounds and pairs share weights. With K = 0 there is no graph: the read-out sees
    h^0 alone.

    Args:
        encoder: maps images (M, 3, H, W) to nodes (M, C, H', W'); it may contain its own loop edge.
        channels: C.
        frames: N', which is only fixed with ``aggregation=concat``.
        rounds: K.
        loop_edge: attend within each frame, in every round.
        loop_reduction: the loop edge attends in C / loop_reduction channels.
        line_edge: form of W_c, ``symmetric`` or ``directed``.
        pool: the edges' sources are ``pool`` × ``pool`` positions averaged.
        gate: an option of ``model.gate``.
        aggregation: an option of ``model.aggregation``.
        update: an option of ``model.update``.
        readout: an option of ``model.readout``.
        auxiliary: also predict a mask directly from h^0, by a 1×1 convolution (released code).
        checkpoint_rounds: recompute each round in the backward pass (gradient checkpointing).
    """

    def __init__(
        self,
        encoder: nn.Module,
        channels: int = 256,
        frames: int = 3,
        rounds: int = 3,
        *,
        loop_edge: bool = True,
        loop_reduction: int = 8,
        line_edge: str = "symmetric",
        pool: int = 1,
        gate: str = "channel",
        aggregation: str = "sum",
        update: str = "gru3x3",
        readout: str = "conv3",
        auxiliary: bool = False,
        checkpoint_rounds: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.rounds = rounds
        self.checkpoint_rounds = checkpoint_rounds
        # Parts of the graph exist only if they are used: DistributedDataParallel refuses parameters without gradient.
        self.loop_edge: nn.Module | None = None
        if loop_edge and rounds and option("model.aggregation", aggregation).facts.get("loop_edge", True):
            self.loop_edge = edges.LoopEdge(channels, max(1, channels // loop_reduction), pool)
        if rounds:
            self.line_edge = edges.LineEdge(channels, line_edge == "symmetric", pool)
            self.gate = option("model.gate", gate).load()(channels)
            self.aggregate = option("model.aggregation", aggregation).load()(channels, frames)
            self.update = option("model.update", update).load()(channels)
        self.readout = ReadOut(readout, channels)
        self.auxiliary = nn.Conv2d(channels, 1, 1) if auxiliary else None

    def set_pool(self, pool: int) -> None:
        """Let the edges of the graph attend to ``pool`` × ``pool`` positions averaged; no weights depend on it."""
        for edge in (self.loop_edge, getattr(self, "line_edge", None)):
            if isinstance(edge, edges.LoopEdge | edges.LineEdge):
                edge.pool = pool

    def encode(self, images: Tensor) -> Tensor:
        """Embed images (B, N, 3, H, W) as nodes h^0 (B, N, C, H', W')."""
        return _split(self.encoder(images.flatten(0, 1)), images.shape[0])  # (B, N, C, H', W')

    def propagate(self, h: Tensor) -> Tensor:
        """Pass messages for K rounds: nodes h^0 to h^K, both (B, N, C, H', W')."""
        h = h.movedim(2, -1).contiguous().movedim(-1, 2)  # channels last in memory, as attention reads them
        for _ in range(self.rounds):
            if self.checkpoint_rounds and torch.is_grad_enabled():
                h = checkpoint(self._round, h, use_reentrant=False, preserve_rng_state=False)  # nothing in it is random
            else:
                h = self._round(h)
        return h

    def _round(self, h: Tensor) -> Tensor:
        b = h.shape[0]
        own = None
        if self.loop_edge is not None:
            own = _split(self.gate(self.loop_edge(h.flatten(0, 1))), b)  # (B, N, C, H', W')
        message = self.aggregate(h, own, self.line_edge, self.gate)  # (B, N, C, H', W')
        updated: Tensor = self.update(message.flatten(0, 1), h.flatten(0, 1))  # (B·N, C, H', W')
        return _split(updated, b)

    def read_out(self, last: Tensor, first: Tensor, size: tuple[int, int]) -> Tensor:
        """Map h^K and h^0, both (B, N, C, H', W'), to logits (B, N, *size)."""
        logits = self.readout(last.flatten(0, 1), first.flatten(0, 1))  # (B·N, 1, H', W')
        return _split(_upsample(logits, size), last.shape[0])  # (B, N, H, W)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised clips (B, N, 3, H, W) to mask logits (B, N, H, W)."""
        return self.forward_with_auxiliary(images)[0]

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """As :meth:`forward`; also returns the logits (B, N, H, W) of the auxiliary mask, or None."""
        first = self.encode(images)
        height, width = images.shape[-2:]
        logits = self.read_out(self.propagate(first), first, (height, width))
        return logits, None if self.auxiliary is None else self._auxiliary(self.auxiliary, first, (height, width))

    def forward_static(self, images: Tensor) -> Tensor:
        """Map static images (B, N, 3, H, W) to the logits (B, N, H, W) of the auxiliary mask, without the graph.

        Raises:
            ValueError: the model has no auxiliary mask.
        """
        if self.auxiliary is None:
            raise ValueError("static images need the auxiliary mask, and this model has none")
        height, width = images.shape[-2:]
        return self._auxiliary(self.auxiliary, self.encode(images), (height, width))

    def _auxiliary(self, classifier: nn.Module, first: Tensor, size: tuple[int, int]) -> Tensor:
        return _split(_upsample(classifier(first.flatten(0, 1)), size), first.shape[0])


def _upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample logits (M, 1, H', W') to (M, *size) in fp32."""
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False).squeeze(1)


def _split(frames: Tensor, clips: int) -> Tensor:
    """Reshape (B·N, …) to (B, N, …)."""
    return frames.reshape(clips, -1, *frames.shape[1:])
