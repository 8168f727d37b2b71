"""The released model written a second time, from its facts: names of its tensors, and what it computes with them.

Functions of a dictionary of tensors; nothing of agnn_lit is called.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F

BLOCKS = {"layer1": (64, 3), "layer2": (128, 4), "layer3": (256, 23), "layer4": (512, 3)}
DILATION = {"layer1": 1, "layer2": 1, "layer3": 2, "layer4": 4}
RATES = (6, 12, 18)


class Draw:
    """Random tensors by their released names, with values under which activations keep an ordinary size."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.state: dict[str, torch.Tensor] = {}

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> None:
        self.state[name] = deviation * torch.randn(shape, generator=self.random)

    def uniform(self, name: str, shape: tuple[int, ...], low: float, high: float) -> None:
        self.state[name] = low + (high - low) * torch.rand(shape, generator=self.random)

    def conv(self, name: str, out: int, within: int, kernel: int, *, bias: bool = False, gain: float = 2.0) -> None:
        self.normal(f"{name}.weight", (out, within, kernel, kernel), math.sqrt(gain / (within * kernel**2)))
        if bias:
            self.normal(f"{name}.bias", (out,), 0.1)

    def norm(self, name: str, channels: int, weight: float = 1.0, variance: float = 1.0) -> None:
        self.uniform(f"{name}.weight", (channels,), 0.8 * weight, 1.2 * weight)
        self.normal(f"{name}.bias", (channels,), 0.1)
        self.normal(f"{name}.running_mean", (channels,), 0.1 * math.sqrt(variance))
        self.uniform(f"{name}.running_var", (channels,), 0.8 * variance, 1.2 * variance)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(len(self.state))


def encoder_state(draw: Draw, prefix: str = "") -> None:
    """Tensors of the encoder, as in the file of its start values."""
    draw.conv(f"{prefix}conv1", 64, 3, 7)
    draw.norm(f"{prefix}bn1", 64, variance=6000.0)  # frames are in 0..255
    within = 64
    for layer, (planes, count) in BLOCKS.items():
        for k in range(count):
            block = f"{prefix}{layer}.{k}."
            draw.conv(f"{block}conv1", planes, within, 1)
            draw.conv(f"{block}conv2", planes, planes, 3)
            draw.conv(f"{block}conv3", 4 * planes, planes, 1)
            for n, channels in ((1, planes), (2, planes), (3, 4 * planes)):
                draw.norm(f"{block}bn{n}", channels, 0.2 if n == 3 else 1.0)
            if k == 0:
                draw.conv(f"{block}downsample.0", 4 * planes, within, 1)
                draw.norm(f"{block}downsample.1", 4 * planes)
            within = 4 * planes
    head = f"{prefix}layer5."
    draw.conv(f"{head}conv", 512, 2048, 1, bias=True)
    draw.norm(f"{head}bn_x", 512)
    for k in range(4):
        draw.conv(f"{head}conv2d_{k}", 512, 2048, 3 if k else 1, bias=True)
        draw.norm(f"{head}bn_{k}", 512)
    draw.conv(f"{head}bottleneck", 256, 2560, 3, bias=True)
    draw.norm(f"{head}bn", 256)
    draw.state[f"{head}prelu.weight"] = torch.tensor([0.3])
    draw.conv(f"{head}sa.query_conv", 64, 256, 1, bias=True, gain=0.3)
    draw.conv(f"{head}sa.key_conv", 64, 256, 1, bias=True, gain=0.3)
    draw.conv(f"{head}sa.value_conv", 256, 256, 1, bias=True)
    draw.state[f"{head}sa.gamma"] = torch.tensor([0.6])
    draw.conv(f"{head}conv51.0", 256, 256, 3)
    draw.norm(f"{head}conv51.1", 256)
    draw.conv(f"{prefix}main_classifier", 1, 256, 1, bias=True)


def model_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """All tensors of the released model, random."""
    draw = Draw(seed)
    encoder_state(draw, "encoder.")
    draw.normal("linear_e.weight", (256, 256), 0.02)
    draw.conv("gate", 1, 256, 1)
    draw.conv("conv_fusion", 256, 512, 3, bias=True)
    for name in ("reset_gate", "update_gate", "out_gate"):
        draw.conv(f"ConvGRU.{name}", 256, 512, 1, bias=True)
    draw.conv("conv1", 256, 512, 3)
    draw.norm("bn1", 256)
    draw.conv("main_classifier1", 1, 256, 1, bias=True)
    return draw.state


def _conv(p, name, x, **how):
    return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **how)


def _norm(p, name, x):
    mean, var, weight, bias = (p[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None] * weight[:, None, None] + bias[
        :, None, None
    ]


def _block(p, name, x, stride, dilation):
    y = F.relu(_norm(p, f"{name}.bn1", _conv(p, f"{name}.conv1", x, stride=stride)))
    y = F.relu(_norm(p, f"{name}.bn2", _conv(p, f"{name}.conv2", y, padding=dilation, dilation=dilation)))
    y = _norm(p, f"{name}.bn3", _conv(p, f"{name}.conv3", y))
    if f"{name}.downsample.0.weight" in p:
        x = _norm(p, f"{name}.downsample.1", _conv(p, f"{name}.downsample.0", x, stride=stride))
    return F.relu(x + y)


def encode(p, images):
    """Nodes (B, 256, H', W') of images (B, 3, H, W), blue first, less their mean."""
    x = F.relu(_norm(p, "encoder.bn1", _conv(p, "encoder.conv1", images, stride=2, padding=3)))
    x = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
    for layer, (_, count) in BLOCKS.items():
        for k in range(count):
            stride = 2 if layer == "layer2" and k == 0 else 1
            x = _block(p, f"encoder.{layer}.{k}", x, stride, DILATION[layer])
    head = "encoder.layer5"
    pooled = F.relu(_norm(p, f"{head}.bn_x", _conv(p, f"{head}.conv", x.mean((2, 3), keepdim=True))))
    branches = [F.interpolate(pooled, size=x.shape[2:], mode="bilinear", align_corners=True)]
    for k, rate in enumerate((1, *RATES)):
        how = {"padding": rate, "dilation": rate} if k else {}
        branches.append(F.relu(_norm(p, f"{head}.bn_{k}", _conv(p, f"{head}.conv2d_{k}", x, **how))))
    x = _norm(p, f"{head}.bn", _conv(p, f"{head}.bottleneck", torch.cat(branches, 1), padding=1))
    x = torch.where(x > 0, x, p[f"{head}.prelu.weight"] * x)
    query, key, value = (_conv(p, f"{head}.sa.{k}_conv", x).flatten(2) for k in ("query", "key", "value"))
    weights = torch.einsum("bcp,bcq->bpq", query, key).softmax(2)
    x = p[f"{head}.sa.gamma"] * torch.einsum("bcq,bpq->bcp", value, weights).reshape(x.shape) + x
    return F.relu(_norm(p, f"{head}.conv51.1", _conv(p, f"{head}.conv51.0", x, padding=1)))


def _message(p, receiver, sender):
    """What a node receives from another one, gated at each position."""
    scores = torch.einsum("bcp,dc,bdq->bpq", receiver.flatten(2), p["linear_e.weight"], sender.flatten(2))
    message = torch.einsum("bpq,bcq->bcp", scores.softmax(2), sender.flatten(2)).reshape(receiver.shape)
    return torch.sigmoid(_conv(p, "gate", message)) * message


def _update(p, message, state):
    gate = {
        name: torch.sigmoid(_conv(p, f"ConvGRU.{name}_gate", torch.cat([message, state], 1)))
        for name in ("reset", "update")
    }
    proposed = torch.tanh(_conv(p, "ConvGRU.out_gate", torch.cat([message, state * gate["reset"]], 1)))
    return state * (1 - gate["update"]) + proposed * gate["update"]


def masks(p, frames, rounds=5):
    """Three probability maps (B, H, W), and the three auxiliary ones, of three frames (B, 3, H, W)."""
    first = [encode(p, frame) for frame in frames]
    states = first
    for _ in range(rounds):
        received = [[_message(p, states[i], states[j]) for j in range(3) if j != i] for i in range(3)]
        joined = [_conv(p, "conv_fusion", torch.cat(both, 1), padding=1) for both in received]
        states = [_update(p, m, h) for m, h in zip(joined, states, strict=True)]
    size = frames[0].shape[2:]

    def bring(logits):
        return torch.sigmoid(F.interpolate(logits, size=size, mode="bilinear", align_corners=False))[:, 0]

    out = []
    for last, start in zip(states, first, strict=True):
        x = F.relu(_norm(p, "bn1", _conv(p, "conv1", torch.cat([last, start], 1), padding=1)))
        out.append(bring(_conv(p, "main_classifier1", x)))
    return out, [bring(_conv(p, "encoder.main_classifier", h)) for h in first]


def released_file(path: Path) -> dict[str, torch.Tensor]:
    return {k.removeprefix("module."): v for k, v in torch.load(path, weights_only=True)["model"].items()}
