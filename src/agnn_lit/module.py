"""The LightningModule: model, loss and scores wired into Lightning; no maths of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import agnn_lit.torchvision_ops  # noqa: F401 - before pytorch_lightning imports torchvision

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from agnn_lit.config import OptimConfig, OptimName, Schedule
from agnn_lit.data.dataset import Clip
from agnn_lit.data.index import Video
from agnn_lit.inference import Inference, predict_video
from agnn_lit.metrics.protocols import PROTOCOLS, SequenceScore, score_sequence, summarise
from agnn_lit.model import AGNN
from agnn_lit.overlay import draw_overlay
from agnn_lit.runs import RunError


class NonFiniteLossError(RunError):
    """A loss that is no number any more; the run stops before its weights are none either."""


@dataclass(frozen=True)
class Validation:
    """How held-out videos are predicted and scored.

    Attributes:
        how: graphs and batches.
        threshold: a pixel is foreground above this probability.
        protocol: name of the scores' protocol.
    """

    how: Inference
    threshold: float = 0.5
    protocol: str = "simple"


class AGNNModule(pl.LightningModule):
    """Trains an :class:`AGNN` and validates it on whole videos.

    Logs ``train/loss`` (and ``train/loss_auxiliary`` where the model has that mask) each step, ``val/J``,
    ``val/F``, ``val/T`` (means over held-out videos) and ``lr/<group>``.

    Args:
        model: the network.
        loss: maps logits and masks, both (B, N', H, W), to a scalar.
        optim: optimiser settings.
        steps: of the optimiser in the whole run, which the schedule runs over.
        validation: how held-out videos are scored.
        config: the resolved configuration as plain containers, kept in the checkpoint.
        overlays: number of held-out videos whose middle frame is drawn at each validation.
        auxiliary: weight of the loss of the auxiliary mask, where the model has one.
    """

    def __init__(
        self,
        model: AGNN,
        loss: Callable[[Tensor, Tensor], Tensor],
        optim: OptimConfig,
        steps: int,
        validation: Validation,
        config: dict[str, Any],
        overlays: int = 0,
        auxiliary: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"config": config})
        self.model = model
        self.loss = loss
        self.optim = optim
        self.steps = steps
        self.validation = validation
        self.overlays = overlays
        self.auxiliary = auxiliary
        self.pictures: dict[str, np.ndarray] = {}  # of the last validation: name -> (H, W, 3) RGB
        self._scores: list[SequenceScore] = []

    def on_train_batch_start(self, batch: Clip, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's call
        """Make what is random in a step (dropout) a function of the seed and the step, also after a resume."""
        place = [int(self.hparams["config"].get("seed", 0)), self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Clip, batch_idx: int) -> Tensor:
        """Loss of a batch of clips.

        Raises:
            NonFiniteLossError: it is infinite or no number.
        """
        images, masks = batch
        # The loss is taken in fp32 whatever the precision of the network.
        logits, straight = self.model.forward_with_auxiliary(images)
        loss = self.loss(logits.float(), masks)
        if straight is not None:
            straight_loss = self.loss(straight.float(), masks)
            self.log("train/loss_auxiliary", straight_loss, on_step=True, on_epoch=False, batch_size=len(images))
            loss = loss + self.auxiliary * straight_loss
        if not torch.isfinite(loss):
            raise NonFiniteLossError(self._describe(float(loss.detach()), batch_idx))
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=False, batch_size=len(images))
        for scheduler_group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            self.log(f"lr/{scheduler_group['name']}", scheduler_group["lr"], on_step=True, on_epoch=False)
        return loss

    def _describe(self, loss: float, batch_idx: int) -> str:
        """Say where a loss went wrong, and what may help."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        clips = [] if data is None else data.describe(self.current_epoch, batch_idx)
        return (
            f"the loss is {loss} at step {self.global_step} (epoch {self.current_epoch}, batch {batch_idx}), of clips:"
            + "".join(f"\n  {clip}" for clip in clips)
            + "\nThe run stops; its checkpoints are from before. A lower optim.lr, trainer.gradient_clip=1.0, "
            "optim.warmup_steps, or precision=fp32 may help; overwrite=true trains anew"
        )

    def validation_step(self, batch: Video, batch_idx: int) -> None:
        """Predict one whole video and score it."""
        settings = self.validation
        masks = predict_masks(self.model, batch, settings.how, settings.threshold)
        if batch_idx < self.overlays:
            middle = len(batch) // 2
            picture = draw_overlay(batch.frame(middle), masks[middle], batch.mask(middle))
            self.pictures[f"{batch.name}/{batch.frame_name(middle)}"] = picture
        names = [batch.frame_name(i) for i in range(len(batch))]
        annotations = (batch.mask(i) for i in range(len(batch)))
        self._scores.append(score_sequence(batch.name, names, masks, annotations, PROTOCOLS[settings.protocol]))

    def on_validation_epoch_end(self) -> None:
        """Log the means over the videos."""
        summary = summarise(self._scores, PROTOCOLS[self.validation.protocol])
        self._scores.clear()
        for key, name in (("J_mean", "val/J"), ("F_mean", "val/F"), ("T", "val/T")):
            value = summary[key]
            if isinstance(value, float) and not math.isnan(value):
                self.log(name, value, prog_bar=name == "val/J", batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Two groups, backbone and graph, with one schedule over the planned steps."""
        cfg = self.optim
        groups = parameter_groups(self.model, cfg)
        optimiser: torch.optim.Optimizer
        if cfg.name is OptimName.sgd:
            optimiser = torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
        else:
            optimiser = torch.optim.AdamW(groups, lr=cfg.lr, weight_decay=cfg.weight_decay)
        # Not trainer.estimated_stepping_batches: it opens the loaders before a checkpoint is restored.
        schedule = LambdaLR(optimiser, lambda step: learning_rate_factor(step, self.steps, cfg))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def predict_masks(model: AGNN, video: Video, how: Inference, threshold: float) -> list[np.ndarray]:
    """Masks (H, W) of a whole video in the order of its frames, 0 or 1."""
    masks = {p.index: (p.probability > threshold).astype(np.uint8) for p in predict_video(model, video, how)}
    return [masks[i] for i in range(len(video))]


def parameter_groups(model: AGNN, cfg: OptimConfig) -> list[dict[str, Any]]:
    """Split parameters into the groups "backbone" and "graph" (edges, gate, update and read-out).

    Raises:
        RuntimeError: a parameter that no group holds.
    """
    backbone = list(model.encoder.parameters())
    held = {id(p) for p in backbone}
    graph = [p for p in model.parameters() if id(p) not in held]
    groups = [
        {"name": "backbone", "params": backbone, "lr": cfg.lr * cfg.backbone_lr_factor},
        {"name": "graph", "params": graph, "lr": cfg.lr},
    ]
    if len(backbone) + len(graph) != len(list(model.parameters())):
        raise RuntimeError("a parameter belongs to no optimiser group")
    return groups


def learning_rate_factor(step: int, total: int, cfg: OptimConfig) -> float:
    """Factor on the learning rate at a step: linear warm-up, then constant or (1 − step/total)^power."""
    warm = min(1.0, (step + 1) / (cfg.warmup_steps + 1))
    if cfg.schedule is Schedule.constant:
        return warm
    return float(warm * max(0.0, 1 - step / max(1, total)) ** cfg.power)
