"""What happens beside training: checkpoints, a clean end when asked to stop, pictures, and lines for a log file."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import agnn_lit.torchvision_ops  # noqa: F401 - before pytorch_lightning imports torchvision

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import WandbLogger

from agnn_lit.module import AGNNModule
from agnn_lit.overlay import jpeg


class LastCheckpoint(ModelCheckpoint):
    """A class of its own, since Lightning tells the states of two checkpoint callbacks apart by it."""


class WithinEpochs(ModelCheckpoint):
    """Writes ``last.ckpt`` within an epoch; at its end :class:`LastCheckpoint` does, once the epoch is validated."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Save after a step, if it is time to and the epoch goes on."""
        if may_stop_here(trainer):
            super().on_train_batch_end(trainer, *args)


def may_stop_here(trainer: pl.Trainer) -> bool:
    """Tell whether a checkpoint at the end of this batch continues exactly: after a step, and not the epoch's last."""
    loop = trainer.fit_loop.epoch_loop
    return not (loop.batch_progress.is_last_batch or loop._should_accumulate())


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there: a half-written one never replaces a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write ``checkpoint`` to ``path``; OSError where the disk is full, with the earlier file still there."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        try:
            with partial.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def checkpoints(folder: Path, *, validated: bool, minutes: float | None = None) -> list[ModelCheckpoint]:
    """Keep ``best.ckpt`` (highest val/J; the latest without validation) and ``last.ckpt`` in a folder.

    Args:
        folder: of the checkpoints.
        validated: whether there is a val/J.
        minutes: between two writings of ``last.ckpt`` within an epoch; None: at its end only.
    """
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_top_k": 1}
    monitored: dict[str, Any] = {"monitor": "val/J", "mode": "max"} if validated else {"monitor": None}
    found = [
        ModelCheckpoint(filename="best", **monitored, **common),
        LastCheckpoint(filename="last", save_on_train_epoch_end=True, every_n_epochs=1, **common),
    ]
    if minutes is not None:
        found.append(WithinEpochs(filename="last", train_time_interval=timedelta(minutes=minutes), **common))
    return found


class Interruption(Callback):
    """Ends training cleanly on SIGINT (Ctrl-C) and SIGTERM (schedulers): after the step, with a checkpoint of it.

    A second signal ends it at once; the last checkpoint is then an earlier one, and a continued run goes on from there
    to the same result.

    Args:
        last: checkpoint to write.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.received: int | None = None
        self._written = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over the two signals, where this is the main thread; only that one can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - called by the interpreter
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        print("stopping after this step; once more stops at once", file=sys.stderr, flush=True)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Write the checkpoint; the step's numbers are logged after this."""
        if self.received is not None and may_stop_here(trainer):
            trainer.save_checkpoint(self.last)
            self._written = True

    def on_train_batch_start(self, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Stop before the next step."""
        if self._written:
            raise KeyboardInterrupt

    def on_validation_batch_end(self, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Stop between two videos; the epoch is validated anew when the run continues."""
        if self.received is not None:
            raise KeyboardInterrupt

    def on_train_epoch_start(self, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Stop between two epochs: the checkpoint of the last one is written."""
        if self.received is not None:
            raise KeyboardInterrupt


class Overlays(Callback):
    """Writes the fixed validation frames of each validation into the run folder and to W&B.

    Args:
        folder: for the JPEG files; each validation overwrites those of the one before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what the module drew."""
        assert isinstance(pl_module, AGNNModule)
        pictures, pl_module.pictures = pl_module.pictures, {}
        if trainer.sanity_checking or not pictures or not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            file = self.folder / (re.sub(r"[^A-Za-z0-9_.-]+", "_", name) + ".jpg")
            file.write_bytes(jpeg(picture))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/overlays", list(pictures.values()), caption=list(pictures))


class EpochLines(Callback):
    """One line an epoch, for output that goes to a file or a pipe, at most one every few seconds.

    Args:
        seconds: least time between two lines.
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
    """Return a progress bar on a terminal, and lines elsewhere."""
    return RichProgressBar() if sys.stdout.isatty() else EpochLines()
