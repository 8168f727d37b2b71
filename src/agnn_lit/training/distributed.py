"""Distributed training: the strategy, and batch normalisation synchronised over processes, on CPUs too.

``torch.nn.SyncBatchNorm`` runs only on GPUs; with the one here, training in several CPU processes matches one process
at the same global batch size.
"""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync, TorchSyncBatchNorm
from torch import Tensor, nn

from agnn_lit.config import TrainConfig


def trainer_options(cfg: TrainConfig) -> dict[str, Any]:
    """Arguments of Lightning's Trainer that depend on devices and nodes."""
    t = cfg.trainer
    options: dict[str, Any] = {
        "accelerator": t.accelerator,
        "devices": t.devices,
        "num_nodes": t.nodes,
        "strategy": t.strategy,
        "use_distributed_sampler": False,  # EpochPlan divides the clips between processes
        "plugins": [],
    }
    if t.devices * t.nodes == 1:
        return options
    if t.strategy == "auto":
        # Parameters without a gradient: the graph on static image steps, the auxiliary mask if its loss has weight 0,
        # and the line edges of a single frame.
        unused = cfg.static.every or (cfg.model.auxiliary and cfg.loss.auxiliary <= 0)
        unused = unused or (cfg.model.frames == 1 and cfg.model.rounds > 0)
        options["strategy"] = "ddp_find_unused_parameters_true" if unused else "ddp"
    if t.sync_batchnorm:
        on_cpu = t.accelerator == "cpu" or (t.accelerator == "auto" and not torch.cuda.is_available())
        options["plugins"] = [CpuBatchNormSync() if on_cpu else GpuBatchNormSync()]
    return options


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the frames of all processes, on any device; torch's own is for GPUs only."""

    def forward(self, frames: Tensor) -> Tensor:
        """Normalise frames (M, C, H, W), in training with the mean and variance over all processes."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(frames)
        dtype, frames = frames.dtype, frames.float()  # half precision is too coarse for the sums
        count = frames.new_tensor(frames.numel() / frames.shape[1])
        torch.distributed.all_reduce(count)
        mean = _sum_over_processes(frames.sum((0, 2, 3))) / count  # (C,)
        centred = frames - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked += 1
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        normed: Tensor = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return (normed * self.weight[:, None, None] + self.bias[:, None, None]).to(dtype)


class _AllReduceSum(torch.autograd.Function):
    """Differentiable sum over processes; torch deprecates its own (``torch.distributed.nn.functional.all_reduce``)."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ARG004 - torch's call
        total = part.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004 - torch's call
        return _sum_over_processes(grad)


def _sum_over_processes(part: Tensor) -> Tensor:
    total: Tensor = _AllReduceSum.apply(part)  # type: ignore[no-untyped-call]
    return total


class _SyncedNormAct(SyncedBatchNorm):
    """Also for timm's normalisation, which holds the activation that follows."""

    drop: nn.Module
    act: nn.Module

    def forward(self, frames: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(super().forward(frames)))
        return activated


class _GpuNormAct(nn.SyncBatchNorm):
    """The same for torch's synchronised normalisation, which runs on GPUs only."""

    drop: nn.Module
    act: nn.Module

    def forward(self, frames: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(super().forward(frames)))
        return activated


class CpuBatchNormSync(LayerSync):
    """Lightning plugin that replaces :class:`torch.nn.BatchNorm2d`, and timm's, by :class:`SyncedBatchNorm`."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise all batch normalisations of a model, in place."""
        _replace_class(model, nn.BatchNorm2d, SyncedBatchNorm)
        return _set_class_of_timm_norms(model, _SyncedNormAct)

    def revert(self, model: nn.Module) -> nn.Module:
        """Undo :meth:`apply`."""
        _replace_class(model, SyncedBatchNorm, nn.BatchNorm2d)
        return _set_class_of_timm_norms(model, None)


class GpuBatchNormSync(TorchSyncBatchNorm):
    """Lightning's plugin, which replaces normalisations by torch's, but keeps the activation in timm's."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise all batch normalisations of a model, in place."""
        return _set_class_of_timm_norms(super().apply(model), _GpuNormAct)

    def revert(self, model: nn.Module) -> nn.Module:
        """Undo :meth:`apply`."""
        return _set_class_of_timm_norms(super().revert(model), None)


def _replace_class(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> nn.Module:
    for part in model.modules():
        if type(part) is old:
            part.__class__ = new
    return model


def _set_class_of_timm_norms(model: nn.Module, new: type[nn.Module] | None) -> nn.Module:
    """Change the class of normalisations that hold an activation; None: to timm's own."""
    for part in model.modules():
        if hasattr(part, "running_mean") and hasattr(part, "drop") and hasattr(part, "act"):
            from timm.layers.norm_act import BatchNormAct2d  # late: other encoders do not need timm

            part.__class__ = new or BatchNormAct2d
    return model
