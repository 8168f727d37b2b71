"""Callbacks: averaged weights, pictures of held-out frames, validation after the last epoch, and progress."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar, WeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from agnn_lit.shared.files import write_bytes
from agnn_lit.shared.pictures import jpeg
from agnn_lit.training.module import AGNNModule


class AveragedWeights(WeightAveraging):
    """Keeps an exponential moving average (EMA) of the weights, which validation uses.

    A checkpoint holds the average in ``state_dict``, which evaluation and prediction read, and the weights from which
    training continues in ``current_model_state``. The running statistics of batch normalisation are averaged as the
    weights are, since they belong to them; integers, such as its number of batches, are those of the last step.

    This callback must stand before the ones that write checkpoints, so that these hold the average of their step.

    Args:
        decay: share of the earlier average that an optimiser step keeps; see :func:`decay_at` for the first steps.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        super().__init__(use_buffers=True, multi_avg_fn=self._average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the model to the device of the training; it is not there yet itself."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    @torch.no_grad()
    def _average(self, average: Sequence[Tensor], current: Sequence[Tensor], averaged: Tensor | int) -> None:
        """Update tensors of one device and type in place; ``averaged`` steps are in the average."""
        if average[0].is_floating_point():
            torch._foreach_lerp_(list(average), list(current), 1 - decay_at(int(averaged), self.decay))
        else:
            torch._foreach_copy_(list(average), list(current))


def decay_at(averaged: int, decay: float) -> float:
    """Decay after a number of averaged steps t: min(decay, (1 + t) / (10 + t)), so that the average soon forgets its
    untrained start (as in TensorFlow's ExponentialMovingAverage).
    """
    return min(decay, (1 + averaged) / (10 + averaged))


class Overlays(Callback):
    """Writes pictures of the same held-out frames at each validation, into the run folder, to W&B and to TensorBoard.

    Args:
        folder: of the JPEG files, which each validation overwrites.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the pictures that the module drew."""
        assert isinstance(pl_module, AGNNModule)
        pictures, pl_module.pictures = pl_module.pictures, {}
        if trainer.sanity_checking or not pictures or not trainer.is_global_zero:
            return
        for name, picture in pictures.items():
            file = self.folder / (re.sub(r"[^A-Za-z0-9_.-]+", "_", name) + ".jpg")
            write_bytes(file, jpeg(picture))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/overlays", list(pictures.values()), caption=list(pictures))
            elif isinstance(logger, TensorBoardLogger):
                for name, picture in pictures.items():
                    logger.experiment.add_image(f"val/{name}", picture, trainer.global_step, dataformats="HWC")


class ValidatedEnd(Callback):
    """Validates after the last epoch, even where its number is not a multiple of ``trainer.check_val_every``."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Turn validation on when the last epoch begins."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class Profile(Callback):
    """Records where the time of three training steps goes, after three others, with the profiler of PyTorch.

    Args:
        folder: of ``table.txt``, the operators by their time, and ``trace.json``, for https://ui.perfetto.dev.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._profiler: torch.profiler.profile | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start; only the first process is recorded."""
        if trainer.is_global_zero:
            steps = torch.profiler.schedule(wait=2, warmup=1, active=3, repeat=1)
            self._profiler = torch.profiler.profile(schedule=steps, on_trace_ready=self._write, profile_memory=True)
            self._profiler.start()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Count a step."""
        if self._profiler is not None:
            self._profiler.step()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Stop; a run of fewer steps writes what was recorded."""
        if self._profiler is not None:
            self._profiler.stop()

    def _write(self, profiler: torch.profiler.profile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=by, row_limit=50, max_name_column_width=70)
        write_bytes(self.folder / "table.txt", table.encode())
        profiler.export_chrome_trace(str(self.folder / "trace.json"))
        print(f"profile of {self.folder.parent}: {self.folder}/table.txt and trace.json", flush=True)


class EpochLines(Callback):
    """Prints a line per epoch, at most one every few seconds, where output goes to a file or a pipe.

    Args:
        seconds: minimum time between two lines.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._last = -float("inf")
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Print epoch, loss and validation scores."""
        now = time.monotonic()
        final = trainer.current_epoch + 1 == trainer.max_epochs
        if not trainer.is_global_zero or (now - self._last < self.seconds and not final):
            return
        self._last = now
        shown = ("train/loss", "val/J", "val/F", "val/T")
        values = trainer.callback_metrics
        scores = "  ".join(f"{name} {float(values[name]):.3f}" for name in shown if name in values)
        minutes = (now - self._start) / 60
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {scores}  {minutes:.1f} min", flush=True)


def progress() -> Callback:
    """Return a progress bar on a terminal, and lines per epoch elsewhere."""
    return RichProgressBar() if sys.stdout.isatty() else EpochLines()
