"""Weights files: a trained model in half precision, with the configuration that builds it, in safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from agnn_lit.config import TrainConfig, plain
from agnn_lit.model.weights import WeightsError, read_tensors

SUFFIX = ".safetensors"
#: Version of the file's content; a reader refuses a higher one.
FORMAT = 1
#: The one entry of the metadata: of several, safetensors chooses the order at random.
_ENTRY = "agnn_lit"
#: Largest relative error of a number that is rounded to fp16 and is in its range of full precision.
_ROUNDING = 2.0**-11


def pack(cfg: TrainConfig, state: Mapping[str, Tensor], about: Mapping[str, str | None]) -> bytes:
    """Return the content of a weights file; equal arguments give equal bytes.

    Args:
        cfg: configuration of the training, of which the part is kept that builds the model and prepares its input. It
            has no paths.
        state: tensors of the model, in fp32; see :func:`halve`.
        about: what else the file says of itself.
    """
    described = {"format": FORMAT, "config": model_config(cfg), "about": dict(about)}
    tensors = {name: halve(tensor.detach().cpu()).contiguous() for name, tensor in state.items()}
    return save(tensors, {_ENTRY: json.dumps(described, sort_keys=True)})


def model_config(cfg: TrainConfig) -> dict[str, Any]:
    """Return the part of a configuration that builds the model and prepares its input, without paths."""
    whole = plain(cfg)
    return {
        "model": {**whole["model"], "weights": None},
        "backbone": {**whole["backbone"], "weights": None},
        "clips": {"size": whole["clips"]["size"]},
        "plugins": whole["plugins"],
    }


def halve(tensor: Tensor) -> Tensor:
    """Return a tensor in fp16 where that costs no more than rounding, else as it is.

    Vectors and scalars stay: they are biases, scales and statistics of normalisations, 2 % of the numbers of a network
    and more than half of the error that fp16 would make. So does a tensor that fp16 changes by more than 2^-11 of its
    norm, because numbers lie above 65504 or too many below 6e-5, where fp16 loses digits.
    """
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    error = torch.linalg.vector_norm(half.float() - tensor)
    return half if error <= _ROUNDING * torch.linalg.vector_norm(tensor) else tensor


def read_weights(file: Path) -> dict[str, Any]:
    """Read a weights file.

    Returns:
        ``hyper_parameters`` and ``state_dict`` as in a checkpoint of agnn-train, all numbers in fp32, and ``about``.

    Raises:
        WeightsError: no such file, not safetensors, not made by agnn-convert, or by a later version of it.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: no such file")
    try:
        with safe_open(file, "pt") as opened:
            written = (opened.metadata() or {}).get(_ENTRY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: cannot be read as safetensors ({error})") from error
    if written is None:
        raise WeightsError(
            f"{file}: not a weights file of agnn-convert (no {_ENTRY} in its metadata); if it holds initial weights of "
            f"a backbone, train from them with backbone.weights={file}"
        )
    try:
        described = json.loads(written)
        version, config, about = (described[key] for key in ("format", "config", "about"))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{file}: its metadata is damaged ({error})") from error
    if version != FORMAT:
        raise WeightsError(f"{file}: has format {version}, and this agnn_lit reads format {FORMAT}; update agnn_lit")
    state = {f"model.{name}": t.float() if t.dtype is torch.float16 else t for name, t in tensors.items()}
    return {"hyper_parameters": {"config": config}, "state_dict": state, "about": about}


def read_checkpoint(file: Path) -> Any:
    """Read a checkpoint of agnn-train or agnn-convert, or a weights file in the same layout.

    Raises:
        WeightsError: see :func:`read_weights` and :func:`agnn_lit.model.weights.read_tensors`.
    """
    return read_weights(file) if file.suffix == SUFFIX else read_tensors(file)
