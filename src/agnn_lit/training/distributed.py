"""Several processes that train together: which strategy, and batch normalisation over all of their clips."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, nn

from agnn_lit.config import TrainConfig


def trainer_options(cfg: TrainConfig) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for the devices and nodes of a configuration."""
    t = cfg.trainer
    options: dict[str, Any] = {
        "accelerator": t.accelerator,
        "devices": t.devices,
        "num_nodes": t.nodes,
        "strategy": t.strategy,
        "use_distributed_sampler": False,  # the plan of an epoch knows the processes
        "plugins": [],
    }
    if t.devices * t.nodes == 1:
        return options
    if t.strategy == "auto":
        # Steps of static images leave the graph without a gradient, steps of clips perhaps the auxiliary mask.
        # A single frame has no line edges.
        whole = not cfg.static.every and (cfg.loss.auxiliary > 0 or not cfg.model.auxiliary)
        whole = whole and (cfg.model.frames > 1 or cfg.model.rounds == 0)
        options["strategy"] = "ddp" if whole else "ddp_find_unused_parameters_true"
    if t.sync_batchnorm:
        on_cpu = t.accelerator == "cpu" or (t.accelerator == "auto" and not torch.cuda.is_available())
        options.update({"plugins": [CpuBatchNormSync()]} if on_cpu else {"sync_batchnorm": True})
    return options


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the frames of all processes, on any device; torch's own is for GPUs only."""

    def forward(self, frames: Tensor) -> Tensor:
        """Normalise frames (M, C, H, W); in training by the mean and variance over all processes."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(frames)
        dtype, frames = frames.dtype, frames.float()  # sums in half precision would lose frames
        count = frames.new_tensor(frames.numel() / frames.shape[1])
        torch.distributed.all_reduce(count)
        mean = _total(frames.sum((0, 2, 3))) / count  # (C,)
        centred = frames - mean[:, None, None]
        variance = _total(centred.square().sum((0, 2, 3))) / count
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked += 1
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        normed: Tensor = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return (normed * self.weight[:, None, None] + self.bias[:, None, None]).to(dtype)


class _Total(torch.autograd.Function):
    """Sum over all processes; each one's gradient reaches all parts of it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ARG004 - torch's call
        total = part.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004 - torch's call
        total = grad.clone()
        torch.distributed.all_reduce(total)
        return total


def _total(part: Tensor) -> Tensor:
    total: Tensor = _Total.apply(part)  # type: ignore[no-untyped-call]
    return total


class CpuBatchNormSync(LayerSync):
    """Lightning's switch between :class:`torch.nn.BatchNorm2d` and :class:`SyncedBatchNorm`."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronise all batch normalisations of a model, in place."""
        return _changed(model, nn.BatchNorm2d, SyncedBatchNorm)

    def revert(self, model: nn.Module) -> nn.Module:
        """Take that back."""
        return _changed(model, SyncedBatchNorm, nn.BatchNorm2d)


def _changed(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> nn.Module:
    for part in model.modules():
        if type(part) is old:
            part.__class__ = new
    return model
