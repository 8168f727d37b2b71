"""Feature networks of the library timm, with a light DeepLab head."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from agnn_lit.config.registry import register
from agnn_lit.model.edges import optional_loop_edge
from agnn_lit.model.timm_weights import build_features, load_timm_weights, name_preprocessing

ASPP_RATES = (3, 6, 9)
#: Channels of the ASPP, and to which a finer level is reduced (DeepLabV3+).
WIDTH, SKIP = 128, 48


@register("backbone.name", "timm", strides=(4, 8, 16), model=True)
class TimmEncoder(nn.Module):
    """A timm network, ASPP with rates 3, 6, 9 on its coarse levels, joined with its finer ones as in DeepLabV3+.

    The levels beyond stride 8 (the last one dilated to stride 16 where the network can be) go through the ASPP
    together. The result is upsampled to each finer level in turn, down to ``stride``, and joined with it.

    A vision transformer has one level, at the stride of its patches; the ASPP's result is resized to the grid of the
    nodes. For it and other networks that cannot be dilated, images are first resized to whole multiples of the coarsest
    stride.

    Args:
        channels: C.
        stride: 4, 8 or 16.
        loop_reduction: add a loop edge before the last convolution; None: no loop edge.
        model: timm's name of the network.

    Raises:
        ConfigError: timm has no such network, or no features of it.
    """

    def __init__(self, channels: int, stride: int = 8, loop_reduction: int | None = None, *, model: str) -> None:
        super().__init__()
        self.model, self.stride = model, stride
        self.body, dilated = build_features(model)
        about: Any = self.body.feature_info
        strides, widths = about.reduction(), about.channels()
        self.multiple = None if dilated else max(strides)
        single = len(set(strides)) == 1
        self.coarse = [k for k, s in enumerate(strides) if s > 8 or single]
        # Of several levels with one stride the last one is used.
        found = {s: k for k, s in enumerate(strides) if stride <= s <= 8 and not single}
        self.fine = sorted(found.items(), reverse=True)  # stride and index, 8 first
        self.aspp = ASPP(sum(widths[k] for k in self.coarse), ASPP_RATES, WIDTH)
        self.aspp.project[3].p = 0.1  # dropout; torchvision's 0.5 is for 256 channels
        self.reduce = nn.ModuleList(_conv_bn(widths[k], SKIP, 1) for _, k in self.fine)
        self.join = nn.ModuleList(_conv_bn(WIDTH + SKIP, WIDTH, 3) for _ in self.fine[1:])
        width = WIDTH + SKIP if self.fine else WIDTH
        self.loop_edge = optional_loop_edge(width, loop_reduction)
        self.head = _conv_bn(width, channels, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (M, 3, H, W) to nodes (M, C, ceil(H/stride), ceil(W/stride))."""
        height, width = images.shape[-2:]
        levels = self._levels(images)
        coarse = [levels[k] for k in self.coarse]
        x: Tensor = self.aspp(torch.cat([_resize(level, coarse[0].shape[-2:]) for level in coarse], dim=1))
        for number, ((stride, k), reduce) in enumerate(zip(self.fine, self.reduce, strict=True)):
            if number:
                x = self.join[number - 1](x)
            grid = (-(-height // stride), -(-width // stride))
            x = torch.cat([_resize(x, grid), _resize(reduce(levels[k]), grid)], dim=1)  # (M, WIDTH + SKIP, *grid)
        x = _resize(x, (-(-height // self.stride), -(-width // self.stride)))
        if self.loop_edge is not None:
            x = self.loop_edge(x)
        nodes: Tensor = self.head(x)
        return nodes

    def _levels(self, images: Tensor) -> list[Tensor]:
        """Return the network's levels, (M, channels, rows, columns) each."""
        if self.multiple is not None:
            images = _to_multiple(images, self.multiple)
        levels: list[Tensor] = self.body(images)
        if str(getattr(self.body, "output_fmt", "")).endswith("NHWC"):
            levels = [level.permute(0, 3, 1, 2) for level in levels]
        return levels

    def load_weights(self, weights: str, preprocessing: str) -> None:
        """Load weights of the network, not of the head; see :func:`agnn_lit.model.timm_weights.load_timm_weights`."""
        load_timm_weights(self.body, self.model, weights, preprocessing)

    @staticmethod
    def preprocessing(model: str, weights: str | None) -> str:
        """Return the input normalisation of a network with these weights."""
        return name_preprocessing(model, weights)


def _conv_bn(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def _resize(x: Tensor, size: tuple[int, int] | list[int] | torch.Size) -> Tensor:
    """Resize (M, C, H, W) bilinearly to (M, C, *size)."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=False)


def _to_multiple(images: Tensor, pixels: int) -> Tensor:
    """Resize images to the nearest multiple of ``pixels`` on each side."""
    return _resize(images, [max(1, round(side / pixels)) * pixels for side in images.shape[-2:]])


# What they do depends on the size of the images: not traced by torch.fx.
torch.fx.wrap("_resize")
torch.fx.wrap("_to_multiple")
