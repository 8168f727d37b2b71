"""Time of decoding and augmenting frames, and the share of a training step spent waiting for data."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from agnn_lit.config.registry import register
from agnn_lit.data.dataset import Clip, ClipDataset, ClipKey
from agnn_lit.data.datasets.davis import index_davis
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.data.open import check
from agnn_lit.data.sampling import Seed
from agnn_lit.data.transforms import ClipTransform
from agnn_lit.data.video import DiskVideo
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.build import build_backbone
from agnn_lit.training.losses import weighted_bce


@dataclass(frozen=True)
class Workload:
    """What is timed; the defaults are those of agnn-train."""

    backbone: str = "deeplabv3_resnet50"
    network: str | None = None  # of those that timm has, for backbone "timm"
    channels: int = 256  # C
    frames: int = 3  # N'
    size: tuple[int, int] = (473, 473)  # height and width of the network input
    footage: tuple[int, int] = (480, 854)  # height and width of generated frames
    length: int = 12  # frames per generated video
    steps: int = 3  # timed training steps, each of one clip

    def clips(self, videos: list[DiskVideo], cache: Path | None = None) -> ClipDataset:
        """Augmented clips, enough for all steps."""
        each = math.ceil((self.steps + 1) / len(videos))
        transform = ClipTransform(self.size, 0.5, (0.7, 1.3))
        return ClipDataset(videos, self.frames, transform, Seed(0), clips_per_video=each, cache=cache)

    def loader(self, clips: ClipDataset, workers: int) -> DataLoader[Clip]:
        """A clip for each step, and one for the warm-up."""
        batches = [[ClipKey(0, n)] for n in range(self.steps + 1)]
        return DataLoader(clips, batch_sampler=batches, num_workers=workers)


#: The recipe of the model in the package, whose steps are short.
LITE = Workload("timm", "tf_efficientnet_lite0", 96, size=(224, 384), steps=12)


@contextmanager
def _footage(workload: Workload) -> Iterator[list[DiskVideo]]:
    """Sequences in ``AGNN_DAVIS_ROOT`` if it is set, else temporary JPEG and PNG files of synthetic videos."""
    if os.environ.get("AGNN_DAVIS_ROOT"):
        root = Path(os.environ["AGNN_DAVIS_ROOT"])
        videos = index_davis(root, sorted(p.name for p in (root / "JPEGImages" / "480p").iterdir() if p.is_dir()))
        check(videos, workload.frames)
        yield videos
        return
    with tempfile.TemporaryDirectory() as folder:
        made = synthetic_videos("train", 2, length=workload.length, size=workload.footage, texture=1.0)
        for video in made:
            images, masks = (Path(folder) / kind / "480p" / video.name for kind in ("JPEGImages", "Annotations"))
            for place in (images, masks):
                place.mkdir(parents=True)
            for i in range(len(video)):
                cv2.imwrite(str(images / f"{i:05d}.jpg"), video.frame(i)[..., ::-1])
                mask = video.mask(i)
                assert mask is not None
                cv2.imwrite(str(masks / f"{i:05d}.png"), mask)
        yield index_davis(Path(folder), [video.name for video in made])


def _decode(videos: list[DiskVideo], frames: int) -> float:
    """Seconds to read a frame and its mask."""
    start = time.perf_counter()
    for n in range(frames):
        video = videos[n % len(videos)]
        video.frame(n % len(video))
        video.mask(n % len(video))
    return (time.perf_counter() - start) / frames


def _load(loader: DataLoader[Clip]) -> float:
    """Seconds per frame of a loader, without the first batch, which starts its processes."""
    batches = iter(loader)
    next(batches)
    start, seen = time.perf_counter(), 0
    for clip in batches:
        seen += clip.masks.shape[0] * clip.masks.shape[1]
    return (time.perf_counter() - start) / seen


def _train(workload: Workload, loader: DataLoader[Clip], device: torch.device) -> tuple[float, float]:
    """Seconds of a step, and seconds that it waits for its clips."""
    torch.manual_seed(0)
    encoder = build_backbone(workload.backbone, workload.channels, model=workload.network)
    model = AGNN(encoder, workload.channels, workload.frames).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    batches = iter(loader)
    waited = start = 0.0
    for step in range(workload.steps + 1):
        asked = time.perf_counter()
        clip = next(batches)
        if step == 1:  # step 0 is the warm-up
            start, waited = asked, 0.0
        waited += time.perf_counter() - asked
        optimiser.zero_grad()
        loss = weighted_bce(model(clip.images.to(device)), clip.masks.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss.item()  # waits for the device
    return (time.perf_counter() - start) / workload.steps, waited / workload.steps


@register("topic", "data")
def run_data(repeats: int = 3, workload: Workload | None = None) -> dict[str, Any]:
    """Time reading, augmenting and loading a frame, and training steps with their data loading.

    Frames are those in ``AGNN_DAVIS_ROOT`` if it is set, else synthetic; the steps use ResNet-50 at 473×473, and the
    recipe of the model in the package at 224×384, on the GPU if there is one. ``waiting_share_…`` is the part of a step
    that waits for its clips. "kept" frames are those of ``clips.cache``.
    """
    workloads = [workload] if workload else [Workload(), LITE]
    workload = workloads[0]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    many = max(2, min(4, os.cpu_count() or 1))
    with _footage(workload) as videos, tempfile.TemporaryDirectory() as folder:
        clips, kept = workload.clips(videos), workload.clips(videos, Path(folder))
        frames = workload.frames * workload.steps
        turns = [
            {"decode": _decode(videos, frames)}
            | {f"load {workers}": _load(workload.loader(clips, workers)) for workers in (0, 1, many)}
            | {"load kept": _load(workload.loader(kept, 0))}  # the first turn writes them
            for _ in range(max(2, repeats))
        ]
        steps = {
            (work.network or work.backbone, w, cache): _train(work, work.loader(work.clips(videos, cache), w), device)
            for work in workloads
            for w, cache in ((0, None), (many, None), (many, Path(folder)))
        }
    least = {name: min(turn[name] for turn in turns) for name in turns[0]}

    def setting(backbone: str, workers: int, cache: Path | None) -> str:
        return f"{backbone}, {workers} loader processes{', kept frames' if cache else ''}"

    rows = [
        ("a frame and its mask: read and decoded", least["decode"]),
        ("a frame: read, decoded and augmented, without loader processes", least["load 0"]),
        ("a kept frame: read and augmented, without loader processes", least["load kept"]),
        ("a frame from 1 loader process", least["load 1"]),
        (f"a frame from {many} loader processes", least[f"load {many}"]),
        *((f"a training step on {device.type}, {setting(*how)}", step) for how, (step, _) in steps.items()),
        *((f"of it waiting for clips, {setting(*how)}", waited) for how, (_, waited) in steps.items()),
    ]

    def waiting(work: Workload, workers: int) -> float:
        step, waited = steps[work.network or work.backbone, workers, None]
        return waited / step

    return {
        "rows": [{"name": name, "seconds": spent, "memory_mb": math.nan} for name, spent in rows],
        "ratios": {
            "frames_per_second_decoded": 1 / least["decode"],
            "frames_per_second_per_worker": 1 / least["load 1"],
            f"frames_per_second_of_{many}_workers": 1 / least[f"load {many}"],
            "time_of_a_frame_over_a_kept_one": least["load 0"] / least["load kept"],
            "waiting_share_of_a_step_without_workers": waiting(workload, 0),
            f"waiting_share_of_a_step_with_{many}_workers": waiting(workload, many),
            f"waiting_share_of_the_shortest_step_with_{many}_workers": waiting(workloads[-1], many),
        },
    }
