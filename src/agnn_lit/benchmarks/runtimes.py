"""Time of a frame by torch, ONNX Runtime and OpenVINO, for the model in the package and for ResNet-50."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agnn_lit.benchmarks.timing import in_own_processes, time_and_peak
from agnn_lit.config import BackboneConfig, ExportConfig, TrainConfig
from agnn_lit.config.registry import register
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.inference.exported import ExportedNetwork, read_config
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.inference.prepare import choose_dtype, prepare
from agnn_lit.inference.video import Network, PredictionSettings, predict_video
from agnn_lit.model.build import build_model
from agnn_lit.model.export import export
from agnn_lit.model.weights_file import pack
from agnn_lit.pretrained import locate

_CPU = torch.device("cpu")
BACKENDS = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Workload:
    """What is timed: a video through a network."""

    package: str | None = "pretrained"  # weights; None: leave it out
    plain: str | None = "deeplabv3_resnet50"  # encoder of the second network; None: leave it out
    channels: int = 256  # of the second network
    size: tuple[int, int] = (288, 512)  # height and width of the input
    footage: tuple[int, int] = (480, 854)
    length: int = 6  # frames of the video

    def segment(self, network: Network, settings: PredictionSettings) -> np.ndarray:
        """Return the probabilities (N, *size) of the video's frames, which are resized to the footage, too."""
        (video,) = synthetic_videos("test", 1, length=self.length, size=self.footage)
        found = sorted(predict_video(network, video, settings), key=lambda prediction: prediction.index)
        assert all(prediction.probability.shape == self.footage for prediction in found)
        return np.stack([prediction.maps[0] for prediction in found])


def _settings(cfg: TrainConfig, workload: Workload) -> PredictionSettings:
    return PredictionSettings(cfg.model.frames, workload.size, preprocessing=cfg.backbone.preprocessing)


def with_torch(file: Path, dtype: str, workload: Workload) -> Callable[[], np.ndarray]:
    """Return a function that segments the video by torch."""
    cfg, model = load_checkpoint(file)
    ready = prepare(model, _CPU, choose_dtype(dtype, _CPU))
    return lambda: workload.segment(ready, _settings(cfg, workload))


def with_runtime(onnx: Path, backend: str, workload: Workload) -> Callable[[], np.ndarray]:
    """Return a function that segments the video by the exported network."""
    cfg, _ = read_config(onnx)
    network = ExportedNetwork(onnx, backend, None)
    return lambda: workload.segment(network, _settings(cfg, workload))


def _networks(workload: Workload, folder: Path) -> dict[str, Path]:
    """Return the weights of each network by its name."""
    found = {}
    if workload.package is not None:
        found[workload.package] = locate("package", workload.package)
    if workload.plain is not None:
        cfg = TrainConfig(backbone=BackboneConfig(name=workload.plain))
        cfg.model = replace(cfg.model, channels=workload.channels)
        torch.manual_seed(0)
        file = folder / f"{workload.plain}.safetensors"
        file.write_bytes(pack(cfg, build_model(cfg, pretrained=False).state_dict(), {}))
        found[workload.plain] = file
    return found


@register("topic", "runtimes")
def run_runtimes(repeats: int = 3, workload: Workload | None = None) -> dict[str, Any]:
    """Time a frame of the model in the package, and of ResNet-50 with the paper's graph (random weights), on the CPU.

    Each is run by torch in fp32 and in the precision that agnn-predict takes, and by ONNX Runtime and OpenVINO in fp32.
    Seconds are for one frame, resizing included.

    Raises:
        RuntimeError: probabilities of a runtime differ from torch's in fp32 by more than 1e-3.
    """
    workload = workload or Workload()
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network, file in _networks(workload, folder).items():
            onnx = folder / f"{file.stem}.onnx"
            export(ExportConfig(ckpt=str(file), out=str(onnx), size=workload.size))
            expected = with_torch(file, "fp32", workload)()
            for backend in BACKENDS:
                apart = float(np.abs(with_runtime(onnx, backend, workload)() - expected).max())
                if not apart <= 1e-3:
                    raise RuntimeError(f"benchmark of runtimes: {network} differs by {apart:.2g} in {backend}")
                ratios[f"{network}_difference_{backend}"] = apart
            auto = str(choose_dtype("auto", _CPU)).removeprefix("torch.")
            sides = {"torch, fp32": partial(with_torch, file, "fp32", workload)}
            if auto != "float32":
                sides[f"torch, {auto}"] = partial(with_torch, file, "auto", workload)
            sides |= {backend: partial(with_runtime, onnx, backend, workload) for backend in BACKENDS}
            measured = in_own_processes(sides, repeats, time_and_peak)
            least = {
                side: min(seconds for seconds, _ in found[1:]) / workload.length for side, found in measured.items()
            }
            for side, found in measured.items():
                rows.append({"name": f"{network}: {side}", "seconds": least[side], "memory_mb": found[-1][1]})
            ours = min(seconds for side, seconds in least.items() if side.startswith("torch"))
            for backend in BACKENDS:
                ratios[f"{network}_torch_over_{backend}"] = ours / least[backend]
    return {"rows": rows, "ratios": ratios}
