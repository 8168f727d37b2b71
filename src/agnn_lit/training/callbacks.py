"""Callbacks: pictures of held-out frames, validation after the last epoch, and progress."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.loggers import WandbLogger

from agnn_lit.shared.files import write_bytes
from agnn_lit.shared.pictures import jpeg
from agnn_lit.training.module import AGNNModule


class Overlays(Callback):
    """Writes pictures of the same held-out frames at each validation, into the run folder and to W&B.

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


class ValidatedEnd(Callback):
    """Validates after the last epoch, even where its number is not a multiple of ``trainer.check_val_every``."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Turn validation on when the last epoch begins."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


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
