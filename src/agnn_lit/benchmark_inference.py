"""How fast a video goes through the network, beside the released code's way and the limit of the arithmetic."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from agnn_lit.benchmark_turns import fastest, peak_mb
from agnn_lit.config import Aggregation, BackboneName, Gate, LineEdge, LoopEdge, Readout, Update
from agnn_lit.data.sampling import random_references
from agnn_lit.data.synthetic import synthetic_videos
from agnn_lit.data.transforms import to_input
from agnn_lit.fast import choose_dtype, prepare
from agnn_lit.inference import Inference, predict_video
from agnn_lit.model import AGNN
from agnn_lit.model.backbone import DeepLabEncoder, build_backbone

#: Backbone, input and footage of the benchmark; N' = 3.
_BACKBONE, _INPUT, _FOOTAGE, _FRAMES = BackboneName.deeplabv3_resnet101, (473, 473), (480, 854), 3
#: Frames that ours is timed on, a multiple of N'; and side of the matrices whose product sets the limit.
_LENGTH, _MATRIX = 6, 2048


@dataclass(frozen=True)
class _Sides:
    plain: AGNN
    official: AGNN
    ours: AGNN


def _settle(model: nn.Module) -> None:
    """Give a random network activations of ordinary size: one pass that sets the statistics it normalises by."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the average of the passes
    model.train()
    with torch.no_grad():
        model(torch.randn(1, _FRAMES, 3, 129, 129))
    model.eval()


class ReleasedEncoder(nn.Module):
    """Encoder of the released code, for its cost: 512 channels a branch of the ASPP, biased, and a 3×3 bottleneck.

    The body is torchvision's, strided in other convolutions; the position attention is the graph's loop edge.

    Args:
        body: dilated ResNet-101, or any network.
        width: channels that it ends with.
    """

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = body
        self.branches = nn.ModuleList(
            [nn.Conv2d(width, 512, 1), *(nn.Conv2d(width, 512, 3, padding=rate, dilation=rate) for rate in (6, 12, 18))]
        )
        self.pooled = nn.Conv2d(width, 512, 1)
        self.bottleneck = nn.Sequential(
            nn.Conv2d(5 * 512, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.PReLU()
        )
        self.last = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (M, 3, H, W) to nodes (M, 256, H/8, W/8)."""
        features = self.body(images)
        pooled = self.pooled(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[2:])
        joined = torch.cat([pooled, *(branch(features) for branch in self.branches)], dim=1)
        nodes: torch.Tensor = self.last(self.bottleneck(joined))
        return nodes


def models() -> tuple[AGNN, AGNN]:
    """AGNN of the paper (K = 3), and of the released code (K = 5), both with random weights."""
    torch.manual_seed(0)
    plain = AGNN(build_backbone(_BACKBONE, 256), frames=_FRAMES, rounds=3)
    _settle(plain)
    body, width = copy.deepcopy(plain.encoder), 256
    if isinstance(body, DeepLabEncoder):
        body, width = body.body, 2048
    official = AGNN(
        ReleasedEncoder(body, width),
        frames=_FRAMES,
        rounds=5,
        loop_edge=LoopEdge.encoder,
        loop_reduction=4,
        line_edge=LineEdge.directed,
        gate=Gate.spatial,
        aggregation=Aggregation.concat,
        update=Update.gru1x1,
        readout=Readout.bn,
    ).eval()
    return plain, official


def _subset() -> tuple[int, ...]:
    """First subset of the partition."""
    return Inference(_FRAMES, _INPUT).graphs(_LENGTH)[0].frames


def _multiply(left: torch.Tensor, right: torch.Tensor, product: torch.Tensor) -> list[float]:
    for _ in range(10):
        torch.mm(left, right, out=product)
    return []


def _video() -> Any:
    return synthetic_videos("test", 1, length=_LENGTH, size=_FOOTAGE)[0]


def _images(indices: tuple[int, ...]) -> torch.Tensor:
    video = _video()
    return to_input([video.frame(i) for i in indices], _INPUT)[None]


@torch.inference_mode()
def official_frame() -> list[float]:
    """One frame the released code's way: a whole forward with two random references, of which one mask is kept."""
    return _forward(models()[1], random_references(_LENGTH, _FRAMES, seed=0)[0].nodes)


@torch.inference_mode()
def plain_subset() -> list[float]:
    """One subset of the partition, fp32."""
    return _forward(models()[0], _subset())


def our_video() -> list[float]:
    """The whole video as ``agnn-predict`` sends it through the network."""
    return _predict(_prepared(models()[0]))


@torch.inference_mode()
def _forward(model: AGNN, indices: tuple[int, ...]) -> list[float]:
    return [float(p) for p in torch.sigmoid(model(_images(indices))).mean((0, 2, 3))]


def _prepared(model: AGNN) -> AGNN:
    device = torch.device("cpu")
    return prepare(model, device, choose_dtype("auto", device))


def _predict(model: AGNN) -> list[float]:
    return [float(p.probability.mean()) for p in predict_video(model, _video(), Inference(_FRAMES, _INPUT))]


@torch.inference_mode()
def _difference(sides: _Sides) -> float:
    """Mean difference of our probabilities from those of plain fp32, on the first subset."""
    how = Inference(_FRAMES, _INPUT)
    nodes = how.graphs(_LENGTH)[0].frames
    expected = torch.sigmoid(sides.plain(_images(nodes)))[0]
    found = sides.ours.read_out(
        sides.ours.propagate(first := sides.ours.encode(_images(nodes).to(next(sides.ours.parameters()).dtype))),
        first,
        _INPUT,
    )
    return float((torch.sigmoid(found)[0] - expected).abs().mean())


def run_inference(repeats: int = 3) -> dict[str, Any]:
    """Time a frame of ResNet-101 at 473×473, N' = 3, on the CPU: the released code's way, plainly, and ours.

    The limit is the number of multiplications and additions of the plain forward over the measured rate of a matrix
    product in our precision.

    Returns:
        ``{topic, rows: [{name, seconds, memory_mb}], ratios: {official_over_ours, ours_over_limit, …}}``; seconds are
        for one frame.

    Raises:
        RuntimeError: our probabilities differ from fp32's by more than 0.02 on average.
    """
    plain, official = models()
    sides = _Sides(plain, official, _prepared(plain))
    dtype = next(sides.ours.parameters()).dtype
    difference = _difference(sides)
    if difference > 0.02:
        raise RuntimeError(f"benchmark of inference: probabilities differ by {difference:.3f} on average")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        plain(_images(_subset()))
    operations = counter.get_total_flops() / _FRAMES
    left, right = torch.randn(2, _MATRIX, _MATRIX).to(dtype)
    product = torch.empty_like(left)
    references = random_references(_LENGTH, _FRAMES, seed=0)[0].nodes
    calls = [
        lambda: _forward(sides.official, references),
        lambda: _forward(sides.plain, _subset()),
        lambda: _predict(sides.ours),
        lambda: _multiply(left, right, product),
    ]
    whole, subset, video, products = fastest(calls, repeats, atol=None)
    rate = 10 * 2 * _MATRIX**3 / products
    seconds = {
        "released code's way, fp32, K = 5": (whole, peak_mb(official_frame)),
        "partition, fp32": (subset / _FRAMES, peak_mb(plain_subset)),
        f"ours, {str(dtype).removeprefix('torch.')}": (video / _LENGTH, peak_mb(our_video)),
        f"limit: {operations / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s": (operations / rate, math.nan),
    }
    ours, limit = video / _LENGTH, operations / rate
    return {
        "topic": "inference",
        "rows": [{"name": name, "seconds": s, "memory_mb": mb} for name, (s, mb) in seconds.items()],
        "ratios": {
            "official_over_ours": whole / ours,
            "ours_over_limit": ours / limit,
            "plain_over_ours": subset / _FRAMES / ours,
            "probability_difference": difference,
        },
    }
