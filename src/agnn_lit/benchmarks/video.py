"""``agnn-predict`` from a film to masks and overlay: frames per second, and where the time goes."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from agnn_lit.benchmarks.timing import fastest, in_own_processes, time_and_peak
from agnn_lit.config import CrfConfig, PredictConfig
from agnn_lit.config.registry import register
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.data.footage import open_footage
from agnn_lit.data.transforms import to_input
from agnn_lit.inference.crf import refine
from agnn_lit.inference.load import Trained, find_checkpoint, open_trained
from agnn_lit.inference.overlay import Overlay
from agnn_lit.inference.prediction import frames_bar, write_prediction
from agnn_lit.inference.video import Prediction, predict_video
from agnn_lit.shared.files import write_mask

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Workload:
    """What is timed."""

    ckpt: str = "pretrained"
    footage: tuple[int, int] = (480, 854)  # height and width of the film
    length: int = 72  # frames of the film
    graph: int = 3  # frames on which stages are timed
    crf: tuple[str, ...] = ("band", "fast")  # refinements beside none

    def frames(self) -> list[Frame]:
        """Frames of DAVIS's sequence goat where AGNN_DAVIS_ROOT is set, else of a built-in video."""
        height, width = self.footage
        davis = Path(os.environ.get("AGNN_DAVIS_ROOT", "")) / "JPEGImages" / "480p" / "goat"
        if not (os.environ.get("AGNN_DAVIS_ROOT") and davis.is_dir()):
            (video,) = synthetic_videos("test", 1, length=self.length, size=self.footage)
            return [video.frame(i) for i in range(self.length)]
        shots = open_footage(davis)
        resized = (av.VideoFrame.from_ndarray(shots.frame(i % len(shots))) for i in range(self.length))
        return [np.asarray(f.to_ndarray(width=width, height=height, format="rgb24"), np.uint8) for f in resized]

    def write(self, path: Path) -> None:
        """Write the film as H.264 at 24 frames a second."""
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=24, options={"crf": "18"})
            stream.height, stream.width, stream.pix_fmt = *self.footage, "yuv420p"
            for frame in self.frames():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            container.mux(stream.encode())


def _open(film: Path, out: Path, workload: Workload, **changes: Any) -> tuple[PredictConfig, Trained]:
    cfg = PredictConfig(input=str(film), out=str(out), ckpt=workload.ckpt, progress=False, overwrite=True)
    cfg = replace(cfg, **changes)
    return cfg, open_trained(find_checkpoint(cfg), cfg)


def command(film: Path, out: Path, workload: Workload, **changes: Any) -> Callable[[], None]:
    """Return a function that does all that agnn-predict does with a film, but for loading the model."""
    cfg, trained = _open(film, out, workload, **changes)

    def run() -> None:
        for old in out.glob("*/*.png"):
            old.unlink()
        footage = open_footage(film)
        console = Console(quiet=True)
        write_prediction(trained, footage, cfg, console, frames_bar(console, shown=False))
        footage.close()
        found = len(list(out.glob("masks/*.png")))
        if found != workload.length:
            raise RuntimeError(f"benchmark of a video: {found} masks of {workload.length} frames")

    return run


def _stages(film: Path, out: Path, workload: Workload) -> dict[str, Callable[[], Any]]:
    """Return the work on one graph of frames, one after another, by name."""
    cfg, trained = _open(film, out, workload)
    footage, network, settings = open_footage(film), trained.model, trained.settings
    predictions = [p for p, _ in zip(predict_video(network, footage, settings), range(workload.graph), strict=False)]
    frames, like = [p.frame for p in predictions], next(network.parameters())
    images = to_input(frames, settings.size, settings.preprocessing)[None].to(like.device, like.dtype)
    with torch.inference_mode():
        first = network.encode(images)
        last = network.propagate(first)
    masks = [(p.probability > cfg.threshold).astype(np.uint8) for p in predictions]
    numbers = iter(range(10**6))

    def decode() -> None:
        with av.open(str(film)) as container:
            for _, frame in zip(frames, container.decode(video=0), strict=False):
                frame.to_ndarray(format="rgb24")

    def within(call: Callable[[], Any]) -> Callable[[], Any]:
        return torch.inference_mode()(call)

    def png() -> None:
        for mask in masks:
            write_mask(out / f"{next(numbers)}.png", mask, cfg.png_level)

    def overlay() -> None:
        with Overlay(out / "overlay.mp4", footage, (0,), lambda _: out / "none", lambda _: None) as drawn:
            for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
                drawn.add(index, frame, mask)

    return {
        "decode": decode,
        "resize and normalise": lambda: to_input(frames, settings.size, settings.preprocessing).to(like.dtype),
        "encoder": within(lambda: network.encode(images)),
        "graph": within(lambda: network.propagate(first)),
        "read-out": within(lambda: torch.sigmoid(network.read_out(last, first, settings.size).float())),
        "resize masks to the film": lambda: [replace(p).probability for p in predictions],
        "write PNG": png,
        "draw and encode the overlay": overlay,
        **{f"refine, crf={name}": partial(_refine, predictions, CrfConfig(name)) for name in workload.crf},
    }


def _refine(predictions: list[Prediction], cfg: CrfConfig) -> None:
    for p in predictions:
        refine(p.probability, p.frame, cfg)


def _run(stage: Callable[[], Any]) -> int:
    stage()
    return 0


@register("topic", "video")
def run_video(repeats: int = 3, workload: Workload | None = None) -> dict[str, Any]:
    """Time agnn-predict on a film, and each stage of it alone.

    ``frames_per_second`` counts all that the command does but for loading the model: finding the frames, network,
    masks, overlay. Stages are timed alone, on a graph of frames; in the command they overlap.

    Raises:
        RuntimeError: a mask is missing.
    """
    workload = workload or Workload()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = folder / "film.mp4"
        workload.write(film)
        sides = {"crf=none": partial(command, film, folder / "none", workload)}
        for backend in workload.crf:
            sides[f"crf={backend}"] = partial(command, film, folder / backend, workload, crf=CrfConfig(backend))
        sides["pool=1"] = partial(command, film, folder / "pool", workload, pool=1)
        sides["overlay=false"] = partial(command, film, folder / "masks", workload, overlay=False)
        measured = in_own_processes(sides, repeats, time_and_peak)
        least = {side: min(seconds for seconds, _ in found[1:]) for side, found in measured.items()}
        stages = _stages(film, folder / "stages", workload)
        alone = fastest([partial(_run, stage) for stage in stages.values()], repeats, atol=None)
    rows = [
        {"name": f"agnn-predict, {side}: a frame", "seconds": least[side] / workload.length, "memory_mb": found[-1][1]}
        for side, found in measured.items()
    ]
    rows += [
        {"name": f"alone, {stage}: a frame", "seconds": seconds / workload.graph, "memory_mb": math.nan}
        for stage, seconds in zip(stages, alone, strict=True)
    ]
    ratios = {"frames_per_second": workload.length / least["crf=none"]}
    ratios |= {f"frames_per_second_{name}": workload.length / least[f"crf={name}"] for name in workload.crf}
    ratios["pool1_over_default"] = least["pool=1"] / least["crf=none"]
    return {"rows": rows, "ratios": ratios}
