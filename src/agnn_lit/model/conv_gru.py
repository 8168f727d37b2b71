"""The node update: a gated recurrent unit with convolutions (Ballas et al., ICLR 2016, section 3)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from agnn_lit.config.registry import register


class ConvGRU(nn.Module):
    """h' = (1 − z) ⊙ h + z ⊙ ĥ, with z, r = σ(W * [m, h]) and ĥ = tanh(W_ĥ * [m, r ⊙ h]) (AGNN, eq. 8).

    Args:
        channels: C of state and message.
        kernel: size of the convolutions, odd.
        carry: the update gate starts with a bias of -carry. At 3, z starts at about 0.05 and three rounds keep 0.86 of
            h^0, so that a read-out trained without a graph (K = 0) still works when training of the graph begins.
            (Highway networks begin likewise: Srivastava et al., 2015, section 2.2.)
    """

    def __init__(self, channels: int, kernel: int = 3, carry: float | None = None) -> None:
        super().__init__()
        self.update = nn.Conv2d(2 * channels, channels, kernel, padding=kernel // 2)
        self.reset = nn.Conv2d(2 * channels, channels, kernel, padding=kernel // 2)
        self.candidate = nn.Conv2d(2 * channels, channels, kernel, padding=kernel // 2)
        if carry is not None:
            assert self.update.bias is not None
            nn.init.constant_(self.update.bias, -carry)

    def forward(self, message: Tensor, state: Tensor) -> Tensor:
        """Return the new state; ``message``, ``state`` and result are (M, C, H, W)."""
        both = torch.cat([message, state], dim=1)  # (M, 2C, H, W)
        z = torch.sigmoid(self.update(both))
        r = torch.sigmoid(self.reset(both))
        proposed = torch.tanh(self.candidate(torch.cat([message, r * state], dim=1)))
        return torch.lerp(state.to(z.dtype), proposed, z)  # stores no further tensor for the backward pass


register("model.update", "gru3x3")(partial(ConvGRU, kernel=3))
register("model.update", "gru3x3_carry")(partial(ConvGRU, kernel=3, carry=3.0))
register("model.update", "gru1x1")(partial(ConvGRU, kernel=1))


@register("model.update", "replace")
class Replace(nn.Module):
    """The ablation without a GRU: the message replaces the state."""

    def __init__(self, channels: int) -> None:  # noqa: ARG002 - same call as ConvGRU
        super().__init__()

    def forward(self, message: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002 - same call as ConvGRU
        """Return ``message``."""
        return message
