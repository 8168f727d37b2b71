"""Prepare a network for inference: precision, memory layout, folded batch normalisation; same maths."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.fx import GraphModule, Tracer
from torch.nn.utils.fusion import fuse_conv_bn_eval

from agnn_lit.config import ConfigError
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.edges import LoopEdge
from agnn_lit.shared.processes import keep_freed_memory

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """Return the precision of the network: ``auto`` is bf16 if the device supports it natively, else fp32.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    if asked == "fp16" and device.type == "cpu":
        raise ConfigError("dtype=fp16 needs a GPU: use bf16, fp32 or auto")
    if asked != "auto":
        return DTYPES[asked]
    return torch.bfloat16 if has_bf16(device) else torch.float32


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 natively: a GPU, or a CPU with AMX, AVX-512-BF16 or Arm's extension."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class _EncoderTracer(Tracer):
    """Does not trace into a loop edge, whose attention backend depends on the size of the grid.

    Nor into timm's convolutions and normalisations, which depend on the size, too, or, with ``whole``, into anything
    of timm's: its transformers cannot be traced.
    """

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m).__module__.startswith("timm."):
            return self.whole or isinstance(m, nn.Conv2d | nn.BatchNorm2d) or not any(m.children())
        return isinstance(m, LoopEdge) or super().is_leaf_module(m, module_qualified_name)


def fold_norms(module: nn.Module) -> GraphModule:
    """Fold batch normalisation in evaluation mode into the convolution before it.

    The module, which is changed, must be traceable by torch.fx, except for loop edges and timm's networks; one of those
    that is not traceable stays as it is.
    """
    try:
        graph = _EncoderTracer(whole=False).trace(module)
    except Exception:  # what a network does with its stand-in for an image can fail in any way
        graph = _EncoderTracer(whole=True).trace(module)
    traced = GraphModule(module, graph)
    parts = dict(traced.named_modules())
    for node in traced.graph.nodes:
        norm = parts.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        convolution = parts.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            # timm's normalisations hold the activation that follows.
            rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if part is not None]
            traced.set_submodule(str(node.target), nn.Sequential(*rest))
    return traced


def prepare(
    model: AGNN, device: torch.device, dtype: torch.dtype, *, channels_last: bool = True, compiled: bool = False
) -> AGNN:
    """Return a copy of a model for inference, with folded batch normalisation.

    Args:
        model: stays unchanged.
        device: device of the copy.
        dtype: type of its weights and activations; logits are upsampled in fp32.
        channels_last: use the channels-last memory layout.
        compiled: compile encoder and graph on first use.
    """
    if device.type == "cpu":
        keep_freed_memory()
    ready = copy.deepcopy(model).eval()
    ready.encoder = fold_norms(ready.encoder)
    ready.readout.layers = fold_norms(ready.readout.layers)
    ready = ready.to(device, dtype).requires_grad_(False)
    if channels_last:
        ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        ready.encoder.compile()
        for part in ("loop_edge", "update"):
            module = getattr(ready, part, None)
            if isinstance(module, nn.Module):
                module.compile()
    return ready
