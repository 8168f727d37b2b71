"""Time of a frame of inference, beside the protocol of the released code and the arithmetic limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.resnet import Bottleneck

from agnn_lit.benchmarks.timing import in_own_processes, time_and_peak
from agnn_lit.config.registry import register
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.data.sampling import random_references
from agnn_lit.data.transforms import to_input
from agnn_lit.inference.prepare import choose_dtype, prepare
from agnn_lit.inference.video import PredictionSettings, predict_video
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.build import build_backbone

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workload:
    """What is timed."""

    backbone: str = "deeplabv3_resnet101"  # of both networks
    size: tuple[int, int] = (473, 473)  # height and width of their input
    footage: tuple[int, int] = (480, 854)  # height and width of the frames
    frames: int = 3  # N'
    length: int = 6  # frames of the video, a multiple of N'
    matrix: int = 2048  # side of the square matrices whose product gives the limit

    @property
    def settings(self) -> PredictionSettings:
        """Partition at scale 1."""
        return PredictionSettings(self.frames, self.size)

    def images(self, indices: tuple[int, ...]) -> torch.Tensor:
        """One graph of frames of the video, (1, N', 3, h, w)."""
        (video,) = synthetic_videos("test", 1, length=self.length, size=self.footage)
        return to_input([video.frame(i) for i in indices], self.size)[None]

    @property
    def subset(self) -> tuple[int, ...]:
        """First subset of the partition."""
        return self.settings.graphs(self.length)[0].frames


def _calibrate(network: AGNN, images: torch.Tensor) -> AGNN:
    """Set the batch normalisation statistics of a random network by one pass.

    Residual branches are scaled by 0.2: at full weight, thirty random blocks amplify rounding errors as no trained
    network does.
    """
    for block in (m for m in network.modules() if isinstance(m, Bottleneck)):
        nn.init.constant_(block.bn3.weight, 0.2)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the average of the passes
    network.train()
    with torch.no_grad():
        network(images)
    return network.eval()


def build(workload: Workload, *, released: bool) -> AGNN:
    """AGNN of the paper (K = 3) or of the released code (K = 5, with its encoder), with random weights."""
    torch.manual_seed(0)
    if not released:
        return AGNN(build_backbone(workload.backbone, 256), frames=workload.frames, rounds=3)
    tiny = workload.backbone == "tiny"
    return AGNN(
        build_backbone(workload.backbone if tiny else "deeplab_official", 256, loop_reduction=4),
        frames=workload.frames,
        rounds=5,
        loop_edge=False,
        line_edge="directed",
        gate="spatial",
        aggregation="concat",
        update="gru1x1",
        readout="bn",
        auxiliary=True,
    )


def build_calibrated(workload: Workload, *, released: bool) -> AGNN:
    """The network of :func:`build` with activations of the usual magnitude."""
    videos = synthetic_videos("train", 4 * workload.frames, length=1, size=workload.footage)
    # Frames of different videos: image-level features are normalised too, and need variance.
    images = to_input([video.frame(0) for video in videos], (129, 129))
    return _calibrate(build(workload, released=released), images.reshape(4, workload.frames, *images.shape[1:]))


@torch.inference_mode()
def _forward(model: AGNN, images: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(model(images).float())


def _official(workload: Workload) -> Callable[[], Any]:
    """One frame by the released protocol: a forward pass with two random references, of which one mask is kept."""
    model = build_calibrated(workload, released=True)
    images = workload.images(random_references(workload.length, workload.frames, seed=0)[0].nodes)
    return lambda: _forward(model, images)


def _plain(workload: Workload) -> Callable[[], Any]:
    """One subset of the partition, fp32."""
    model = build_calibrated(workload, released=False)
    images = workload.images(workload.subset)
    return lambda: _forward(model, images)


def _ours(workload: Workload, *, released: bool = False) -> Callable[[], Any]:
    """A whole video as in ``agnn-predict``, with resizing of frames and probability maps."""
    model = prepare(build_calibrated(workload, released=released), _CPU, choose_dtype("auto", _CPU))
    (video,) = synthetic_videos("test", 1, length=workload.length, size=workload.footage)
    return lambda: list(predict_video(model, video, workload.settings))


def _products(workload: Workload) -> Callable[[], Any]:
    """Ten matrix products in our precision."""
    left, right = torch.randn(2, workload.matrix, workload.matrix).to(choose_dtype("auto", _CPU))
    out = torch.empty_like(left)
    return lambda: [torch.mm(left, right, out=out) for _ in range(10)]


_SIDES: dict[str, Callable[[Workload], Callable[[], Any]]] = {
    "official": _official,
    "plain": _plain,
    "ours": _ours,
    "ours_official": partial(_ours, released=True),
    "products": _products,
}


def measure(workload: Workload, repeats: int) -> dict[str, tuple[float, float]]:
    """Least seconds, and peak memory of the process in MB, of each side."""
    sides = {name: partial(prepare_side, workload) for name, prepare_side in _SIDES.items()}
    measured = in_own_processes(sides, repeats, time_and_peak)
    return {name: (min(seconds for seconds, _ in found[1:]), found[-1][1]) for name, found in measured.items()}


def difference(workload: Workload, *, released: bool = False) -> float:
    """Mean absolute difference of our probabilities from those of plain fp32, on the first subset."""
    plain = build_calibrated(workload, released=released)
    ours = prepare(plain, _CPU, choose_dtype("auto", _CPU))
    images = workload.images(workload.subset)
    like = next(ours.parameters())
    return float((_forward(ours, images.to(like.dtype)) - _forward(plain, images)).abs().mean())


def operations(workload: Workload) -> float:
    """Floating-point operations of the plain forward pass per frame."""
    plain = build(workload, released=False).eval()
    with FlopCounterMode(display=False) as counter:
        _forward(plain, workload.images(workload.subset))
    return float(counter.get_total_flops()) / workload.frames


@register("topic", "inference")
def run_inference(repeats: int = 3, workload: Workload | None = None) -> dict[str, Any]:
    """Time a frame of ResNet-101 at 473×473, N' = 3, on the CPU: by the released protocol, plain, and ours.

    The limit is the number of operations of the plain forward pass divided by the measured rate of a matrix product in
    our precision. Seconds are for one frame.

    Raises:
        RuntimeError: our probabilities differ from fp32's by more than 0.02 on average.
    """
    workload = workload or Workload()
    apart, official_apart = difference(workload), difference(workload, released=True)
    if (most := max(apart, official_apart)) > 0.02:
        raise RuntimeError(f"benchmark of inference: probabilities differ by {most:.3f} on average")
    count = operations(workload)
    measured = measure(workload, repeats)
    rate = 10 * 2 * workload.matrix**3 / measured["products"][0]
    official, ours, limit = measured["official"][0], measured["ours"][0] / workload.length, count / rate
    plain = measured["plain"][0] / workload.frames
    ours_official = measured["ours_official"][0] / workload.length
    dtype = str(choose_dtype("auto", _CPU)).removeprefix("torch.")
    rows = {
        "released code's way, fp32, K = 5": (official, measured["official"][1]),
        "partition, fp32": (plain, measured["plain"][1]),
        f"ours, {dtype}": (ours, measured["ours"][1]),
        f"ours, {dtype}, the released model": (ours_official, measured["ours_official"][1]),
        f"limit: {count / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s": (limit, math.nan),
    }
    return {
        "rows": [{"name": name, "seconds": s, "memory_mb": mb} for name, (s, mb) in rows.items()],
        "ratios": {
            "official_over_ours": official / ours,
            "ours_over_limit": ours / limit,
            "plain_over_ours": plain / ours,
            "official_over_ours_same_model": official / ours_official,
            "probability_difference": apart,
            "probability_difference_official": official_apart,
        },
    }
