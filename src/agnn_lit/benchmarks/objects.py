"""Time of object segmentation (instances) per frame, beside the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agnn_lit.benchmarks.inference import Workload, build_calibrated
from agnn_lit.benchmarks.timing import fastest
from agnn_lit.config import InstancesConfig
from agnn_lit.config.registry import register
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.inference.prepare import choose_dtype, prepare
from agnn_lit.inference.video import PredictionSettings, predict_video
from agnn_lit.instances.candidates import Candidates, find_candidates
from agnn_lit.instances.tracks import Tracker


@register("topic", "objects")
def run_objects(repeats: int = 3, workload: Workload | None = None) -> dict[str, Any]:
    """Time a frame of ResNet-101 at 473×473, N' = 3, and finding and linking three objects in it at 854×480.

    The foreground is the annotation of synthetic videos, so that there are objects to separate. Seconds are for one
    frame.
    """
    s = workload or Workload()
    (video,) = synthetic_videos("test", 1, length=s.length, size=s.footage, primaries=3)
    cpu = torch.device("cpu")
    model = prepare(build_calibrated(s, released=False), cpu, choose_dtype("auto", cpu))
    settings = PredictionSettings(s.frames, s.size, features=True)
    nodes = {p.index: p.node for p in predict_video(model, video, settings)}
    frames = [video.frame(t) for t in range(s.length)]
    foregrounds = [np.asarray(video.mask(t), np.float32) for t in range(s.length)]
    cfg = InstancesConfig()

    def find() -> list[Candidates]:
        return [find_candidates(frames[t], foregrounds[t], nodes[t], None, 0.5, cfg) for t in range(s.length)]

    found = find()

    def link() -> list[list[int]]:
        tracker = Tracker(cfg)
        return [tracker.step(frame, candidates) for frame, candidates in zip(frames, found, strict=True)]

    calls = [lambda: [p.index for p in predict_video(model, video, settings)], lambda: len(find()), lambda: len(link())]
    seconds = [spent / s.length for spent in fastest(calls, repeats, atol=None)]
    names = ("network", "candidates", "tracks")
    rows = [{"name": f"a frame: {n}", "seconds": t, "memory_mb": None} for n, t in zip(names, seconds, strict=True)]
    return {"rows": rows, "ratios": {"objects_over_network": sum(seconds[1:]) / seconds[0]}}
