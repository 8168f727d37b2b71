"""Weights of the released code (carrierlxk/AGNN): convert tensor names of the official variant, both ways.

Two files exist: the trained model (``attention_agnn_51.pth``), and initial encoder weights
(``deeplab_davis_12_0.pth``). Both hold ``{"model": names to tensors}``, saved from ``DataParallel``, with names that
start with ``module.``.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

from torch import Tensor

from agnn_lit.config import ConfigError
from agnn_lit.model.weights import list_mismatches, read_tensors, replace_prefix

#: Prefixes of names, ours and the released model's.
_NAMES = (
    *((f"encoder.body.{part}", f"encoder.{part}") for part in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")),
    ("encoder.pooled.1", "encoder.layer5.conv"),
    ("encoder.pooled.2", "encoder.layer5.bn_x"),
    *((f"encoder.branches.{k}.0", f"encoder.layer5.conv2d_{k}") for k in range(4)),
    *((f"encoder.branches.{k}.1", f"encoder.layer5.bn_{k}") for k in range(4)),
    ("encoder.project.0", "encoder.layer5.bottleneck"),
    ("encoder.project.1", "encoder.layer5.bn"),
    ("encoder.project.2", "encoder.layer5.prelu"),
    ("encoder.loop_edge.w_f", "encoder.layer5.sa.query_conv"),
    ("encoder.loop_edge.w_h", "encoder.layer5.sa.key_conv"),
    ("encoder.loop_edge.w_l", "encoder.layer5.sa.value_conv"),
    ("encoder.loop_edge.alpha", "encoder.layer5.sa.gamma"),
    ("encoder.head", "encoder.layer5.conv51"),
    ("auxiliary", "encoder.main_classifier"),
    ("line_edge", "linear_e"),
    ("gate.w_g", "gate"),
    ("aggregate.conv", "conv_fusion"),
    ("update.reset", "ConvGRU.reset_gate"),
    ("update.update", "ConvGRU.update_gate"),
    ("update.candidate", "ConvGRU.out_gate"),
    ("readout.layers.0", "conv1"),
    ("readout.layers.1", "bn1"),
    ("readout.layers.3", "main_classifier1"),
)
_PREFIX = "module."


class Part(Enum):
    """Content of a file."""

    model = "model"
    encoder = "encoder"


#: Prefix of names in the whole model that the encoder's file omits.
_LEAD = {Part.model: "", Part.encoder: "encoder."}


def released_name(ours: str) -> str:
    """Return the name of our tensor in the released model; a name without counterpart is returned unchanged."""
    return replace_prefix(ours, _NAMES)


def our_name(released: str) -> str:
    """Return our name of a tensor of the released model; a name without counterpart is returned unchanged."""
    return replace_prefix(released, [(theirs, ours) for ours, theirs in _NAMES])


def _convert(name: str, tensor: Tensor) -> Tensor:
    """Convert a tensor with our ``name`` to the other code's form, in either direction.

    A linear layer multiplies by the transpose of its weight, so linear_e.weight is W_cᵀ; gamma has one element.
    """
    if name == "line_edge.weight" and tensor.ndim == 2:
        return tensor.T.contiguous()
    if name == "encoder.loop_edge.alpha":
        return tensor.reshape(() if tensor.ndim else (1,))
    return tensor


def read_released(file: Path) -> tuple[dict[str, Tensor], Part]:
    """Read a file of the released code, as weights only.

    Returns:
        Tensors by name, without ``module.``, and the kind of file.

    Raises:
        ConfigError: a file that does not exist, is not safe to load, or holds no ``{"model": names to tensors}``.
    """
    content = read_tensors(file)
    state: Any = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        found = f"the keys {sorted(map(str, content))[:5]}" if isinstance(content, dict) else type(content).__name__
        hint = "; ckpt= takes files of agnn-train" if isinstance(content, dict) and "state_dict" in content else ""
        raise ConfigError(f'{file}: holds {found}, not {{"model": names to tensors}} as the released code saves{hint}')
    plain = {str(name).removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    if len(plain) != len(state):
        raise ConfigError(f"{file}: has the same tensors with and without the prefix {_PREFIX}")
    return plain, Part.model if any(name.startswith("encoder.") for name in plain) else Part.encoder


def _of(part: Part, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if part is Part.model or k.startswith(("encoder.", "auxiliary."))}


def from_released(state: dict[str, Tensor], part: Part, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors of the released code to ours.

    Args:
        state: tensors from :func:`read_released`.
        part: kind of file from :func:`read_released`.
        expected: state dict of the official variant, for its names, shapes and types.

    Raises:
        ConfigError: lists all tensors that are missing, unexpected, or of another shape or type, by released name.
    """
    lead = _LEAD[part]
    wanted = {released_name(k).removeprefix(lead): _convert(k, v) for k, v in _of(part, expected).items()}
    problems = list_mismatches(state, wanted)
    if problems:
        raise ConfigError(f"not the released {part.value}:\n  {problems}")
    return {our_name(lead + k): _convert(our_name(lead + k), v) for k, v in state.items()}


def to_released(state: dict[str, Tensor], part: Part, expected: dict[str, Tensor]) -> dict[str, Any]:
    """Convert our tensors to a checkpoint of the released code.

    Args:
        state: tensors by our names.
        part: the whole model, or the encoder with the auxiliary classifier.
        expected: state dict of the official variant, for its names, shapes and types.

    Returns:
        ``{"epoch": 0, "model": names to tensors}``, with names that start with ``module.``.

    Raises:
        ConfigError: lists all tensors that the released code does not have, or that are missing.
    """
    problems = list_mismatches(state, _of(part, expected))
    if problems:
        raise ConfigError(f"does not fit the released {part.value}:\n  {problems}")
    lead = _LEAD[part]
    return {
        "epoch": 0,
        "model": {_PREFIX + released_name(k).removeprefix(lead): _convert(k, v) for k, v in state.items()},
    }
