"""The LightningModule, which connects model, loss and scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from agnn_lit.config import ConfigError, OptimConfig, StaticConfig
from agnn_lit.data.dataset import Clip, StaticClip
from agnn_lit.data.sampling import Purpose, Seed
from agnn_lit.data.video import DataError, Video
from agnn_lit.inference.video import PredictionSettings, predict_video
from agnn_lit.metrics.video_scores import VideoScores
from agnn_lit.model.agnn import AGNN
from agnn_lit.shared.pictures import draw_overlay
from agnn_lit.shared.runs import RunError

#: Optimiser groups: the backbone, and everything else.
GROUPS = ("backbone", "graph")


class NonFiniteLossError(RunError):
    """The loss is NaN or infinite; training stops before the optimiser step."""


@dataclass(frozen=True)
class Validation:
    """How held-out videos are predicted and scored.

    Attributes:
        settings: graphs and batches.
        threshold: probability above which a pixel is foreground.
        protocol: name of the protocol.
    """

    settings: PredictionSettings
    threshold: float = 0.5
    protocol: str = "simple"


class AGNNModule(pl.LightningModule):
    """Trains an :class:`AGNN` and validates it on whole videos.

    Logs ``train/loss`` (and ``train/loss_auxiliary``) in each step of clips, ``train/loss_static`` in each step of
    static images, ``val/J``, ``val/F``, ``val/T`` (means over held-out videos) and ``lr/<group>``, averaged over all
    processes.

    Args:
        model: the network.
        loss: maps logits and masks, both (B, N', H, W), to a scalar.
        optim: optimiser settings.
        epochs: number of epochs; the schedule runs over ``epochs * len(step_kinds)`` steps.
        validation: how held-out videos are scored.
        config: resolved configuration as plain containers, stored in the checkpoint.
        seed: seed of the random numbers in a step, such as dropout.
        overlays: number of held-out videos whose middle frame is drawn at each validation.
        auxiliary: weight of the loss of the auxiliary mask, if the model has one.
        static: loss weight and learning rates of steps of static images.
        step_kinds: for each step of an epoch, whether it is a step of static images.
        channels_last: keep weights, and the images of a training step, in channels-last memory order.
    """

    def __init__(
        self,
        model: AGNN,
        loss: Callable[[Tensor, Tensor], Tensor],
        optim: OptimConfig,
        epochs: int,
        validation: Validation,
        config: dict[str, Any],
        seed: Seed,
        overlays: int = 0,
        auxiliary: float = 0.0,
        static: StaticConfig | None = None,
        step_kinds: Sequence[bool] = (False,),
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"config": config})
        self.model = model
        self.channels_last = channels_last
        if channels_last:  # weights that are loaded later keep this order
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.seed = seed
        self.loss = loss
        self.optim = optim
        self.epochs = epochs
        self.validation = validation
        self.scores = VideoScores(validation.protocol)
        self.overlays = overlays
        self.auxiliary = auxiliary
        self.static = static or StaticConfig()
        self.step_kinds = step_kinds
        self.pictures: dict[str, np.ndarray] = {}  # overlays of the last validation: name -> (H, W, 3) RGB
        self._losses: dict[str, Tensor] = {}  # of the current step, summed over its batches

    def on_train_batch_start(self, batch: Clip, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's call
        """Seed the random numbers of a step, such as dropout, by run and step, so that a resumed run draws the same."""
        place = self.seed.key(Purpose.dropout, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Clip, batch_idx: int) -> Tensor:
        """Loss of a batch of clips, or of static images.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite, in this process or another one.
        """
        images, masks = batch
        if self.channels_last:
            images = images.movedim(2, -1).contiguous().movedim(-1, 2)  # (B, N', 3, H, W), channels last in memory
        # The loss is computed in fp32, whatever the precision of the network.
        if isinstance(batch, StaticClip):
            loss = self.static.loss * self.loss(self.model.forward_static(images).float(), masks)
            losses = {"train/loss_static": loss}
        else:
            logits, straight = self.model.forward_with_auxiliary(images)
            loss = self.loss(logits.float(), masks)
            losses = {}
            if straight is not None and self.auxiliary:
                losses["train/loss_auxiliary"] = self.loss(straight.float(), masks)
                loss = loss + self.auxiliary * losses["train/loss_auxiliary"]
            losses["train/loss"] = loss
            self.log("train/loss", loss, prog_bar=True, logger=False, batch_size=len(images), sync_dist=True)
        finite = bool(torch.isfinite(loss))
        if not self.trainer.strategy.reduce_boolean_decision(finite):  # all processes stop, or none
            raise NonFiniteLossError(self._describe(float(loss.detach()), batch_idx))
        self._log_step(losses, batch_idx)
        return loss

    def _log_step(self, losses: dict[str, Tensor], batch_idx: int) -> None:
        """Log the losses, averaged over the batches of a step, and the learning rates.

        Lightning's own log() would repeat the last loss of clips in steps of static images, and vice versa.
        """
        batches = self.trainer.accumulate_grad_batches
        for name, loss in losses.items():
            self._losses[name] = self._losses.get(name, 0.0) + loss.detach() / batches
        if (batch_idx + 1) % batches:
            return
        losses, self._losses = self._losses, {}
        if (self.global_step + 1) % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        row = {name: float(self.trainer.strategy.reduce(loss, reduce_op="mean")) for name, loss in losses.items()}
        groups = self.optimizers(use_pl_optimizer=False).param_groups  # type: ignore[union-attr]
        row.update({f"lr/{group['name']}": group["lr"] for group in groups})
        for logger in self.loggers:
            logger.log_metrics({**row, "epoch": self.current_epoch}, self.global_step)
            logger.save()

    def _describe(self, loss: float, batch_idx: int) -> str:
        """Message for a NaN or infinite loss: the step, its clips, and what may help."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        clips = [] if data is None else data.describe(self.current_epoch, batch_idx)
        return (
            f"the loss is {loss} at step {self.global_step} (epoch {self.current_epoch}, batch {batch_idx}), of clips:"
            + "".join(f"\n  {clip}" for clip in clips)
            + "\nTraining stops; the checkpoints were written before this step. A lower optim.lr, "
            "trainer.gradient_clip=1.0, optim.warmup_steps, or precision=fp32 may help; overwrite=true starts again"
        )

    def validation_step(self, batch: Video | None, batch_idx: int) -> None:
        """Predict and score a whole video; None if the other processes have one more video than this one."""
        if batch is None:
            return
        validation = self.validation
        masks = predict_masks(self.model, batch, validation.settings, validation.threshold)
        if batch_idx < self.overlays:
            middle = len(batch) // 2
            picture = draw_overlay(batch.frame(middle), masks[middle], batch.mask(middle))
            self.pictures[f"{batch.name}/{batch.frame_name(middle)}"] = picture
        names = [batch.frame_name(i) for i in range(len(batch))]
        annotations = (batch.mask(i) for i in range(len(batch)))
        self.scores.update(batch.name, names, masks, annotations)

    def on_validation_epoch_end(self) -> None:
        """Log the mean scores over the videos of all processes.

        Raises:
            DataError: no video has an annotated object.
        """
        means = {name: float(value) for name, value in self.scores.compute().items()}
        self.scores.reset()
        if math.isnan(means["J"]):
            held_out = getattr(self.trainer.datamodule, "held_out", ())  # type: ignore[attr-defined]
            raise DataError(
                "no val/J: no frame of the held-out videos has an annotated object "
                f"({', '.join(video.name for video in held_out)}); "
                "change seed, or set clips.val_share=0 to skip validation"
            )
        for name, value in means.items():
            if not math.isnan(value):
                self.log(f"val/{name}", value, prog_bar=name == "J", batch_size=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return an optimiser with the groups backbone and graph, and its schedule over the planned steps.

        Each group has a learning-rate factor for steps of clips and one for steps of static images.
        """
        cfg = self.optim
        groups = parameter_groups(self.model, cfg)
        optimiser: torch.optim.Optimizer
        if cfg.name == "sgd":
            optimiser = torch.optim.SGD(groups, lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
        else:
            optimiser = torch.optim.AdamW(groups, lr=cfg.lr, weight_decay=cfg.weight_decay)
        # trainer.estimated_stepping_batches would open the data loaders before a checkpoint is restored.
        schedule = LambdaLR(optimiser, [partial(self._rate, str(group["name"])) for group in groups])
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, group: str, step: int) -> float:
        """Return the factor on optim.lr of a group at a step."""
        usual = learning_rate_factor(step, self.epochs * len(self.step_kinds), self.optim)
        settings = self.static if self.step_kinds[step % len(self.step_kinds)] else self.optim
        return float(getattr(settings, f"{group}_lr_factor")) * usual


def predict_masks(model: AGNN, video: Video, settings: PredictionSettings, threshold: float) -> list[np.ndarray]:
    """Return the masks (H, W) of a whole video in the order of its frames, 0 or 1."""
    masks = {p.index: (p.probability > threshold).astype(np.uint8) for p in predict_video(model, video, settings)}
    return [masks[i] for i in range(len(video))]


def parameter_groups(model: AGNN, cfg: OptimConfig) -> list[dict[str, Any]]:
    """Split parameters into the groups "backbone" and "graph".

    The backbone is the encoder with the auxiliary mask, or with ``optim.backbone=body`` only the encoder's body.

    Raises:
        ConfigError: the encoder has no body.
    """
    prefixes = ("encoder.", "auxiliary.") if cfg.backbone == "encoder" else ("encoder.body.",)
    parts: dict[str, list[torch.nn.Parameter]] = {group: [] for group in GROUPS}
    for name, parameter in model.named_parameters():
        parts["backbone" if name.startswith(prefixes) else "graph"].append(parameter)
    if not parts["backbone"]:
        raise ConfigError(
            f"optim.backbone={cfg.backbone}: this encoder has no part named body; use optim.backbone=encoder"
        )
    return [{"name": group, "params": found, "lr": cfg.lr} for group, found in parts.items()]


def describe_groups(model: AGNN, cfg: OptimConfig) -> dict[str, dict[str, float | int]]:
    """Return the number of trained parameters and tensors of each optimiser group, and its highest learning rate."""
    found: dict[str, dict[str, float | int]] = {}
    for group in parameter_groups(model, cfg):
        trained = [p for p in group["params"] if p.requires_grad]
        rate = cfg.lr * getattr(cfg, f"{group['name']}_lr_factor")
        found[group["name"]] = {"parameters": sum(p.numel() for p in trained), "tensors": len(trained), "lr": rate}
    return found


def learning_rate_factor(step: int, total: int, cfg: OptimConfig) -> float:
    """Return the factor on the learning rate at a step: linear warm-up, then constant or (1 − step/total)^power."""
    warm = min(1.0, (step + 1) / (cfg.warmup_steps + 1))
    if cfg.schedule == "constant":
        return warm
    return float(warm * max(0.0, 1 - step / max(1, total)) ** cfg.power)
