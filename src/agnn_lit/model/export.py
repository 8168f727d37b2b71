"""``agnn-export``: the network of a trained model as ONNX or as a program of ``torch.export``."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from agnn_lit.config import ConfigError, ExportConfig, TrainConfig, check_values
from agnn_lit.config.setting import require
from agnn_lit.shared.files import atomic_path
from agnn_lit.shared.packages import need_package

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

    from agnn_lit.model.agnn import AGNN

#: Suffixes of the two kinds of files.
ONNX, PROGRAM = ".onnx", ".pt2"
#: Opset of the ONNX file.
_OPSET = 18
#: The entry of an ONNX file's metadata that holds the configuration of the model.
METADATA = "agnn_lit"


def export(cfg: ExportConfig) -> Path:
    """Export a trained model as configured, and check the file against the network.

    Returns:
        The file.

    Raises:
        ConfigError: wrong settings, no such model, the file exists, a package is missing, or the probabilities of the
            file differ by more than 1e-3.
    """
    check_values(cfg)
    out = Path(cfg.out)
    require(cfg.run is None or cfg.ckpt is None, f"run={cfg.run} ckpt={cfg.ckpt}: give one of them, or none")
    require(out.suffix in (ONNX, PROGRAM), f"out={out}: must end in {ONNX} or {PROGRAM}")
    require(cfg.overwrite or not out.exists(), f"out={out} exists: choose another file, or overwrite=true")
    if out.suffix == ONNX:
        for package in ("onnxscript", "onnxruntime"):
            need_package(package, "onnx", f"out={out}")
    import torch

    from agnn_lit.inference.load import find_checkpoint, load_checkpoint

    trained, model = load_checkpoint(find_checkpoint(cfg))
    frames = trained.model.frames
    size = (cfg.size[0], cfg.size[1]) if cfg.size else trained.clips.size
    print(f"exporting for {frames} frames of {'any size' if cfg.any_size else f'{size[0]}x{size[1]}'} …", flush=True)
    network = _network(model)
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(1, frames, 3, *size, generator=generator)
    program = _trace(network, example, any_size=cfg.any_size)
    with atomic_path(out) as temporary:
        if out.suffix == PROGRAM:
            torch.export.save(program, temporary)
        else:
            _write_onnx(program, temporary, trained, frames)
        with torch.inference_mode():
            expected = network(example)
        difference = float((_run(temporary, out.suffix, example) - expected).abs().max())
        if not difference <= 1e-3:
            raise ConfigError(f"out={out}: its probabilities differ by {difference:.2g}; at most 1e-3 is right")
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, probabilities within {difference:.1g}", flush=True)
    return out


def _network(model: AGNN) -> nn.Module:
    """Return a network from frames (1, N', 3, H, W), normalised as in training, to probabilities (1, N', H, W)."""
    import torch

    from agnn_lit.inference.prepare import prepare

    ready = prepare(model, torch.device("cpu"), torch.float32, channels_last=False)
    for part in ready.modules():
        if hasattr(part, "backend"):
            setattr(part, "backend", "reference")  # noqa: B010 - of attention: plain operations

    class Probabilities(torch.nn.Module):
        """The network, with the sigmoid."""

        def __init__(self) -> None:
            super().__init__()
            self.network = ready

        def forward(self, frames: Tensor) -> Tensor:
            """Map frames to probabilities."""
            return torch.sigmoid(self.network(frames))

    return Probabilities().eval()


def _trace(network: nn.Module, example: Tensor, *, any_size: bool) -> ExportedProgram:
    import torch
    from torch.export import Dim

    shapes = {"frames": {3: Dim.AUTO, 4: Dim.AUTO}} if any_size else None
    with torch.no_grad():
        return torch.export.export(network, (example,), dynamic_shapes=shapes, strict=False)


def _write_onnx(program: ExportedProgram, file: Path, trained: TrainConfig, frames: int) -> None:
    import torch

    from agnn_lit.model.weights_file import model_config

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its exporter
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=_OPSET,
            input_names=["frames"],
            output_names=["probability"],
            verbose=False,
        )
    assert onnx is not None
    described = {"config": model_config(trained), "frames": frames}
    onnx.model.metadata_props[METADATA] = json.dumps(described, sort_keys=True)
    onnx.save(file)


def _run(file: Path, suffix: str, example: Tensor) -> Tensor:
    """Run an exported file on frames (1, N', 3, H, W)."""
    import torch

    if suffix == PROGRAM:
        with torch.inference_mode():
            result: Tensor = torch.export.load(file).module()(example)
        return result
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"frames": example.numpy()})[0])
