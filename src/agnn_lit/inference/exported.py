"""Networks exported by agnn-export, run by ONNX Runtime or OpenVINO in the place of torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agnn_lit.config import ConfigError, TrainConfig, stored
from agnn_lit.model.export import METADATA, ONNX
from agnn_lit.shared.packages import need_package


def is_exported(file: Path) -> bool:
    """Whether a file is an exported network, by its suffix."""
    return file.suffix == ONNX


class ExportedNetwork(nn.Module):
    """An exported network with the methods of :class:`~agnn_lit.model.agnn.AGNN` that prediction calls.

    The file holds the whole network, so the frames themselves stand for nodes, and all of it runs in the read-out.

    Args:
        file: ONNX file of agnn-export.
        backend: ``onnxruntime`` or ``openvino``.
        threads: CPU threads; None: the backend's default.

    Raises:
        ConfigError: the backend is not installed, or the file cannot be read.
    """

    def __init__(self, file: Path, backend: str, threads: int | None) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(()))
        self._run = _OPENERS[backend](file, threads)

    def parameters(self, recurse: bool = True) -> Any:  # noqa: ARG002 - as in torch
        """A tensor of the device and the precision of its input."""
        yield self.like

    def encode(self, images: Tensor) -> Tensor:
        """Return the images (B, N', 3, H, W)."""
        return images

    def propagate(self, first: Tensor) -> Tensor:
        """Return the images."""
        return first

    def read_out(self, last: Tensor, first: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ARG002 - as in AGNN
        """Map images (B, N', 3, H, W) to logits (B, N', H, W)."""
        return torch.cat([torch.logit(self._run(clip[None])) for clip in first.unbind()])


def _open_onnxruntime(file: Path, threads: int | None) -> Any:
    runtime = need_package("onnxruntime", "onnx", "backend=onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, without a common one
        raise ConfigError(f"{file}: ONNX Runtime cannot read it ({str(error).splitlines()[0]})") from error
    return lambda clip: torch.from_numpy(session.run(None, {"frames": clip.numpy()})[0])


def _open_openvino(file: Path, threads: int | None) -> Any:
    openvino = need_package("openvino", "openvino", "backend=openvino")
    core = openvino.Core()
    # By default, OpenVINO computes in bf16 where the processor does.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(str(file), "CPU", settings)
    except RuntimeError as error:
        raise ConfigError(f"{file}: OpenVINO cannot read it ({str(error).splitlines()[0]})") from error
    return lambda clip: torch.from_numpy(compiled(clip.numpy())[0])


_OPENERS = {"onnxruntime": _open_onnxruntime, "openvino": _open_openvino}


def read_config(file: Path) -> tuple[TrainConfig, int]:
    """Return the configuration and N' of an exported network.

    Raises:
        ConfigError: there is no such file, or agnn-export has not made it.
    """
    onnx = need_package("onnx", "onnx", f"ckpt={file}")
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; agnn-export writes one")
    try:
        entries = onnx.load(str(file), load_external_data=False).metadata_props
        content = next(json.loads(entry.value) for entry in entries if entry.key == METADATA)
        return stored(content["config"]), int(content["frames"])
    except (StopIteration, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{file}: not an ONNX file of agnn-export") from error
    except Exception as error:  # protobuf's
        raise ConfigError(f"{file}: cannot be read as ONNX ({error})") from error
